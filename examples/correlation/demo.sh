#!/bin/sh
# The whole example on this machine: catalogue, 99 slices, the sum, a picture.
# demo.sh BIN FOLDER: BIN has python and slurmslice; FOLDER takes what is made.
set -eu
bin=$1
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$2"
cd "$2"

"$bin/python" "$here/make_catalogue.py" --out .

"$bin/slurmslice" run --engine local -a 0-98 --mem 1G -t 0:10:00 \
  --then "'$bin/python' '$here/combine.py' results --out xi.csv --plot xi.png --expect 99" -- \
  "$bin/python" "$here/correlate.py" --file_1 'mill2sort-{}.h5' --file_2 mill2_fof_sorted.h5 \
  -l 400 -n 0 --m_factor 1 --slicing --log 'logs/mill2sort-{}.log'

"$bin/slurmslice" status correlate --slices
echo "The picture: $(pwd)/xi.png"
