"""The ends of logs as programs write them, labelled by hand: equal labels are one error.

The forms are those of public issues, which ``source`` names; names and numbers are others, and the
texts are shortened. ``cause`` is what the exit code or the log gives (``policy/causes.py``).
"""

from __future__ import annotations

from typing import NamedTuple


class Tail(NamedTuple):
    """The end of one log.

    Attributes:
        label: the same for logs that a person would call one error.
        source: the issue with this form, ``owner/repository#number``.
        text: the end of the log.
        cause: the cause of the failure.
        key: the key of the slice.
        columns: its columns, as names and values.
    """

    label: str
    source: str
    text: str
    cause: str = "exit:1"
    key: str = "0"
    columns: tuple[tuple[str, str], ...] = ()


def _missing(key: str, number: int) -> str:
    return f"""\
Traceback (most recent call last):
  File "/home/ada/sim/fit.py", line {number}, in <module>
    main()
  File "/home/ada/sim/fit.py", line 41, in load
    with open(path) as file:
FileNotFoundError: [Errno 2] No such file or directory: '/data/run{number}/{key}.csv'
"""


def _no_space(number: int) -> str:
    return f"""\
Traceback (most recent call last):
  File "/home/ada/sim/fit.py", line 77, in save
    group["x"] = values
  File "/usr/lib/python3/dist-packages/h5py/_hl/group.py", line 385, in __setitem__
    ds = self.create_dataset(None, data=obj)
  File "h5py/_objects.pyx", line 54, in h5py._objects.with_phil.wrapper
OSError: Can't write data (file write failed: time = Thu Jan 10 10:5{number}:30 2019
, filename = '/tmp/out{number}.h5', file descriptor = {number}, errno = 28, error message = \
'No space left on device', buf = 0x7fd2e665001{number}, total write size = 335544{number})
"""


def _http(code: str, key: str) -> str:
    return f"""\
Traceback (most recent call last):
  File "/home/ada/get.py", line 32, in fetch
    data = urllib.request.urlopen("https://example.org/{key}").read()
  File "/opt/conda/lib/python3.8/urllib/request.py", line 222, in urlopen
    return opener.open(url, data, timeout)
  File "/opt/conda/lib/python3.8/urllib/request.py", line 649, in http_error_default
    raise HTTPError(req.full_url, code, msg, hdrs, fp)
urllib.error.HTTPError: HTTP Error {code}
"""


def _get_column(name: str, line: int) -> str:
    return f"""\
Traceback (most recent call last):
  File "pandas/_libs/index.pyx", line 76, in pandas._libs.index.IndexEngine.get_loc
KeyError: '{name}'

The above exception was the direct cause of the following exception:

Traceback (most recent call last):
  File "/home/ada/qa/scripts/substeps/tree.py", line {line}, in main
    if not df[df[name] > 0].empty:
  File "/opt/mc/lib/python3.10/site-packages/pandas/core/indexes/base.py", line 3798, in get_loc
    raise KeyError(key) from err
KeyError: '{name}'
"""


def _cuda(need: str, free: str) -> str:
    return f"""\
[06/09 11:05:25 d2.engine.hooks]: Overall training speed: 22 iterations in 0:01:02 (2.8 s / it)
Traceback (most recent call last):
  File "train.py", line 418, in <module>
    results = main()
  File "/home/ada/envs/d2/lib/python3.7/site-packages/torch/tensor.py", line 195, in backward
    torch.autograd.backward(self, gradient)
RuntimeError: CUDA out of memory. Tried to allocate {need} (GPU 0; 31.72 GiB total capacity; \
{free} free; 29.08 GiB reserved in total by PyTorch)
srun: error: gpu07: task 0: Exited with exit code 1
"""


def _elastic(rank: int, pid: int) -> str:
    return f"""\
[rank{rank}]: Traceback (most recent call last):
[rank{rank}]:   File "/home/ada/lm/train.py", line 88, in <module>
[rank{rank}]:     step(batch)
[rank{rank}]:   File "/home/ada/lm/model.py", line 31, in step
[rank{rank}]:     loss = f(x)
[rank{rank}]: RuntimeError: expected scalar type Half but found Float
ERROR:torch.distributed.elastic.multiprocessing.api:failed (exitcode: 1) local_rank: {rank} \
(pid: {pid}) of binary: /home/ada/lm/bin/python
Traceback (most recent call last):
  File "/home/ada/lm/bin/torchrun", line 8, in <module>
    sys.exit(main())
  File "/home/ada/lm/lib/python3.8/site-packages/torch/distributed/run.py", line 794, in main
    run(args)
torch.distributed.elastic.multiprocessing.errors.ChildFailedError:
============================================================
train.py FAILED
------------------------------------------------------------
Root Cause (first observed failure):
[0]:
  time      : 2023-04-26_01:4{rank}:50
  host      : gpu{rank}
  exitcode  : 1 (pid: {pid})
============================================================
"""


def _r_connection(number: int, key: str) -> str:
    return f"""\
Random seed: {number}
==> Fitting decay model
Error in open.connection(file, "rt") : cannot open the connection
Calls: read.table -> open -> open.connection
In addition: Warning message:
In open.connection(file, "rt") :
  cannot open compressed file '{key}', probable reason 'No such file or directory'
Execution halted
"""


def _r_two_lines(size: str) -> str:
    return f"""\
[1] "make cluster"
Error in socketConnection("localhost", port = port, server = TRUE, blocking = TRUE,  :
  all connections are in use ({size})
Calls: makePSOCKcluster -> newPSOCKnode -> socketConnection
Execution halted
"""


def _julia(error: str, place: int) -> str:
    return f"""\
Writing run log
ERROR: LoadError: {error}
Stacktrace:
 [1] getindex
   @ ./array.jl:924 [inlined]
 [2] write_log(inpD::Dict{{String, Any}}, tnbranch::Vector{{Int64}})
   @ Grow ~/.julia/packages/Grow/nnMkn/src/outputs.jl:{place}
 [3] top-level scope
   @ /data4/grow/run.jl:{place}
in expression starting at /data4/grow/run.jl:{place}
"""


def _mpi_abort(rank: int, code: int) -> str:
    return f"""\
--------------------------------------------------------------------------
MPI_ABORT was invoked on rank {rank} in communicator MPI_COMM_WORLD
with errorcode {code}.

NOTE: invoking MPI_ABORT causes Open MPI to kill all MPI processes.
You may or may not see output from other processes, depending on
exactly when Open MPI kills them.
--------------------------------------------------------------------------
srun: error: n{rank:03d}: task {rank}: Exited with exit code {code % 256}
"""


def _mpich(code: int, place: int) -> str:
    return f"""\
Abort({code}) on node 0 (rank 0 in comm 0): Fatal error in PMPI_Init: Other MPI error, error stack:
MPIR_Init_thread({place})........:
MPID_Init({place + 1372})..............:
(unknown)(): Other MPI error
"""


def _terminate(kind: str, what: str, pid: int) -> str:
    return f"""\
step {pid}
terminate called after throwing an instance of '{kind}'
  what():  {what}
/var/spool/slurmd/job{pid}/slurm_script: line 11: {pid} Aborted                 (core dumped) ./sim
"""


def _segfault(job: int, pid: int, args: str) -> str:
    return f"""\
Using random seed: {pid}
/var/spool/slurm/d/job{job}/slurm_script: line 10: {pid} Segmentation fault      (core dumped) \
dock --ligand {args}
"""


def _gfortran(line: int, unit: int, file: str) -> str:
    return f"""\
 moder...                                                                 0.0s
At line {line} of file D:\\src\\{file} (unit = {unit}, file = 'tape{unit}')
Fortran runtime error: End of file

Error termination. Backtrace:
#0  0x7fbf7014ebfa
#1  0x7fbf7014f685
"""


def _forrtl(unit: int, file: str) -> str:
    return f"""\
forrtl: severe (24): end-of-file during read, unit {unit}, file {file}
Image              PC                Routine            Line        Source
mped_v2.2          0000000000CF159E  Unknown               Unknown  Unknown
libc.so.6          00000034C081D974  Unknown               Unknown  Unknown
"""


def _header(file: str, place: str, targets: str) -> str:
    return f"""\
In file included from /usr/include/hdf5.h:24:0,
{file}:{place}: fatal error: mpi.h: No such file or directory
   14 | #include <mpi.h>
      |          ^~~~~~~
compilation terminated.
{targets}
"""


def _linker(folder: str) -> str:
    return f"""\
/usr/bin/ld: /tmp/cc{folder}.o: in function `main':
x.c:(.text+0x1{len(folder)}): undefined reference to `dgesv_'
collect2: error: ld returned 1 exit status
make: *** [Makefile:2{len(folder)}: sim] Error 1
"""


def _module_of_shell(job: int, line: int) -> str:
    return f"/var/spool/slurmd/job{job:05d}/slurm_script: line {line}: ml: command not found\n"


def _execve(node: str, task: int) -> str:
    return f"""\
slurmstepd: error: execve(): mkdir: No such file or directory
slurmstepd: error: execve(): mkdir: No such file or directory
srun: error: {node}: tasks {task}-{task + 4}: Exited with exit code 2
"""


def _killed(job: int, pid: int) -> str:
    return f"""\
Epoch: [0][{pid % 999}/1736]\t Loss 0.{pid} MAE 0.5976 RMSE 0.7949
/var/spool/slurmd/job{job:05d}/slurm_script: line 28:  {pid} Killed                  python3 main.py
slurmstepd: error: Detected 1 oom-kill event(s) in StepId={job}.batch cgroup.
"""


def _package(name: str) -> str:
    return f"Error in library({name}) : there is no package called ‘{name}’\nExecution halted\n"


def _quota(file: str) -> str:
    return f"""\
Traceback (most recent call last):
  File "/home/ada/net/run.py", line 238, in <module>
    save(net, "{file}")
  File "/lustre/ada/net/utils.py", line 138, in save
    with open(fi, "wt") as f:
OSError: [Errno 122] Disk quota exceeded: '{file}'
"""


TAILS = (
    Tail("file", "fractal-analytics-platform/fractal-server#307", _missing("s1", 3), key="s1"),
    Tail("file", "fractal-analytics-platform/fractal-server#307", _missing("s22", 14), key="s22"),
    Tail("no-space", "h5py/h5py#914", _no_space(3), "no-space"),
    Tail("no-space", "abnormal-spatiotemporal-ae#11", _no_space(6), "no-space"),
    Tail("http-404", "kfuku52/csubst#35", _http("404: Not Found", "7tim"), key="7tim"),
    Tail("http-404", "ihaveamac/wiiu-things#3", _http("404: Not Found", "1abc"), key="1abc"),
    Tail("http-500", "alrojo/UniLanguage#2", _http("500: Internal Server Error", "2x")),
    Tail("http-500", "johntruckenbrodt/pyroSAR#82", _http("500: Internal Server Error", "y")),
    Tail("column", "swiss-territorial-data-lab/proj-qalidar#3", _get_column("1_new", 188)),
    Tail("column", "bellingcat/instagram-location-search#4", _get_column("external_id", 190)),
    Tail("cuda", "facebookresearch/detectron2#1563", _cuda("1.71 GiB", "1.58 GiB"), "cuda-oom"),
    Tail("cuda", "zhou13/lcnn#23", _cuda("96.00 MiB", "77.50 MiB"), "cuda-oom"),
    Tail("half", "Facico/Chinese-Vicuna#113", _elastic(0, 1622990)),
    Tail("half", "hpcaitech/ColossalAI#3172", _elastic(3, 4412)),
    Tail("r-open", "fgvieira/ngsLD#49", _r_connection(44999, "scaf_10:79542"), key="scaf_10:79542"),
    Tail("r-open", "JaeYoonKim72/GMStool#2", _r_connection(7, "scaf_2:1"), key="scaf_2:1"),
    Tail("r-sockets", "broadinstitute/ssGSEA2.0#5", _r_two_lines("128 of 128")),
    Tail("r-sockets", "tinglab/reCAT#14", _r_two_lines("64 of 64")),
    Tail("r-package", "lhndo/ResHelper#5", _package("rootSolve"), "module-missing"),
    Tail("r-package", "bnosac/cronR#25", _package("rootSolve"), "module-missing"),
    Tail("r-other-package", "KamilSJaron/smudgeplot#43", _package("devtools"), "module-missing"),
    Tail("bounds", "dttrugman/GrowClust3D.jl#10",
         _julia("BoundsError: attempt to access 9-element Vector{Any} at index [10]", 141)),
    Tail("bounds", "jolin-io/JuliaScript.jl#7",
         _julia("BoundsError: attempt to access 0-element Vector{Any} at index [1]", 106)),
    Tail("undefined", "JuliaDiff/ChainRules.jl#826",
         _julia("UndefVarError: `T` not defined in `ChainRules`", 33)),
    Tail("undefined", "JuliaDiff/ChainRules.jl#826",
         _julia("UndefVarError: `T` not defined in `ChainRules`", 53)),
    Tail("abort", "UCL/hemelb#4", _mpi_abort(0, -1), "exit:255"),
    Tail("abort", "open-mpi/ompi#12503", _mpi_abort(12, -1), "exit:255"),
    Tail("mpi-init", "SmileiPIC/Smilei#819", _mpich(1090959, 176)),
    Tail("mpi-init", "rouyang2017/SISSO#64", _mpich(1615247, 174)),
    Tail("range", "flori-stelzer/deep-learning-delay-system#3", _terminate(
        "std::out_of_range", "basic_string::substr: __pos (which is 2) > this->size() (which is 0)",
        8051), "exit:134"),
    Tail("range", "Jarkore/Feednix#41", _terminate(
        "std::out_of_range", "basic_string::substr: __pos (which is 7) > this->size() (which is 5)",
        312), "exit:134"),
    Tail("null", "sim82/papara_nt#4",
         _terminate("std::runtime_error", "n1.back != null", 8051), "exit:134"),
    Tail("segv", "DeltaGroupNJUPT/Vina-GPU#31", _segfault(75896, 1763903, "PV-01_T1"), "exit:139",
         "PV-01_T1"),
    Tail("segv", "rgcgithub/regenie#161", _segfault(4919729, 86298, "PV-7_T2"), "exit:139",
         "PV-7_T2"),
    Tail("endf", "njoy/NJOY2016#323", _gfortran(852, 50, "endf.f90"), "exit:2"),
    Tail("endf", "metno/emep-ctm#44", _gfortran(852, 28, "endf.f90"), "exit:2"),
    Tail("config", "metno/emep-ctm#44", _gfortran(728, 28, "Config_module.f90"), "exit:2"),
    Tail("forrtl", "pmodels/mpich#875", _forrtl(5, "/scratch/a1/dist.in"), "exit:24"),
    Tail("forrtl", "UKFELs/Puffin#46", _forrtl(132, "/nfs/b/dist.in"), "exit:24"),
    Tail("header", "AMReX-Combustion/PeleLM#237", _header(
        "../../amrex/Src/Base/mpi.H", "14:10", "make: *** [Make.rules:257: main.o] Error 1"),
        "exit:2"),
    Tail("header", "shogun-toolbox/shogun#1448", _header(
        "/usr/include/mpi.H", "57:20", "make[2]: *** [io.dir/File.o] Error 1"), "exit:2"),
    Tail("linker", "yuejia/Milu#18", _linker("AbCd"), "exit:2"),
    Tail("linker", "rrwick/Bandage#41", _linker("xYz"), "exit:2"),
    Tail("ml", "envmodules/modules#339", _module_of_shell(156, 4), "not-found"),
    Tail("ml", "envmodules/modules#341", _module_of_shell(99, 12), "not-found"),
    Tail("mkdir", "firelab/windninja#624", _execve("bear-pg0104u25b", 15), "exit:2"),
    Tail("mkdir", "RRZE-HPC/likwid#259", _execve("n001", 0), "exit:2"),
    Tail("killed", "ArjunaCluster/ArjunaUsers#52", _killed(191, 8156), "exit:137"),
    Tail("killed", "ArjunaCluster/ArjunaUsers#52", _killed(2204, 911), "exit:137"),
    Tail("quota", "KennthShang/HostG#7", _quota("out/intermediate.ntw"), "quota"),
    Tail("quota", "GeoscienceAustralia/dea-notebooks#755", _quota("kernel-b6f86981.json"), "quota"),
)  # fmt: skip
