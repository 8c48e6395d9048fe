"""A SPANK plugin with two options, compiled for the cluster's release of Slurm.

Source: spank(7) and ``slurm/spank.h``. The source contains the declarations, so it needs no header
and is the same for every release. Slurm needs these symbols, and its own version in one of them.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.slurm_cluster import Cluster
from tests.support.slurm_cluster.packages import provide, slurm_version

_SOURCE = """\
typedef struct spank_handle *spank_t;
struct spank_option {
    char *name, *arginfo, *usage;
    int has_arg, val;
    int (*cb)(int val, const char *optarg, int remote);
};
extern int spank_option_register(spank_t, struct spank_option *);
extern int spank_setenv(spank_t, const char *var, const char *val, int overwrite);

const char plugin_name[] = "slurmslice_test";
const char plugin_type[] = "spank";
const unsigned int plugin_version = VERSION;
const unsigned int spank_plugin_version = 1;

static char image[256];
static int writable;

static int take_image(int val, const char *optarg, int remote) {
    for (int i = 0; optarg[i] && i < 255; i++)
        image[i] = optarg[i];
    return 0;
}

static int take_writable(int val, const char *optarg, int remote) {
    writable = 1;
    return 0;
}

static struct spank_option options[] = {
    {"test-image", "IMAGE", "Image of the slurmslice tests", 1, 1, take_image},
    {"test-writable", 0, "Flag of the slurmslice tests", 0, 2, take_writable},
};

int slurm_spank_init(spank_t spank, int argc, char **argv) {
    return spank_option_register(spank, &options[0]) || spank_option_register(spank, &options[1]);
}

int slurm_spank_user_init(spank_t spank, int argc, char **argv) {
    if (image[0])
        spank_setenv(spank, "TEST_IMAGE", image, 1);
    if (writable)
        spank_setenv(spank, "TEST_WRITABLE", "yes", 1);
    return 0;
}
"""


@contextmanager
def plugin(cluster: Cluster) -> Iterator[None]:
    """Let the cluster's commands and nodes load the plugin; remove it at the end."""
    folder = cluster.layout.slurm_conf.parent
    library, stack = folder / "slurmslice_test.so", folder / "plugstack.conf"
    _compile(library, cluster)
    stack.write_text(f"required {library}\n")
    try:
        yield
    finally:
        stack.unlink()
        library.unlink()


def _compile(library: Path, cluster: Cluster) -> None:
    major, minor = slurm_version(cluster.layout)
    version = f"-DVERSION={(major << 16) + (minor << 8)}"
    compiler = provide(cluster.layout, "gcc", "gcc", say=print)
    alone = ("-shared", "-fPIC", "-nostdlib", "-ffreestanding")  # without the headers of a libc
    command = [compiler, *alone, version, "-x", "c", "-", "-o", str(library)]
    done = subprocess.run(command, input=_SOURCE, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    library.chmod(0o755)
