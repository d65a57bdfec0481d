"""One file that searches: for `ray submit cluster.yaml search.py`, which copies it to the head node and runs it there.

It needs raynas on the head and the workers (cluster.yaml installs it), and no other file. The recipe is in it.

    ray submit cluster.yaml search.py -- --address auto --out s3://bucket/run     # on a cluster of `ray up`
    python search.py --out run                                                    # on this machine

`ray job submit -- raynas run RECIPE` is the other way, for any cluster, with recipes as files of their own.
"""

import argparse
import os

RECIPE = """
method: {name: spos}
space: {name: nas-bench-macro, width: 0.25, resolution: 16}
data: {name: digits}
budget: {macs: {max: 300k}}
training: {epochs: 4, batch_size: 64, learning_rate: 0.1}
search: {population: 16, generations: 4}
evaluation: {recalibration_images: 128, recalibration_batch_size: 64}
fit: {epochs: 4, batch_size: 64, learning_rate: 0.1}
scale: {train: {workers: 1}, evaluate: {actors: 1}}
"""

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", default="runs/search", help="the run folder: shared by all nodes, or a bucket")
    parser.add_argument("--address", help="of a cluster, such as auto; without it, Ray starts on this machine")
    parser.add_argument("--set", dest="changes", action="append", default=[], metavar="PATH=VALUE")
    given = parser.parse_args()
    if given.address:
        os.environ["RAY_ADDRESS"] = given.address
    import yaml

    import raynas

    outcome = raynas.run(yaml.safe_load(RECIPE), given.out, given.changes)
    print(outcome.front.to_string(index=False))
    print(outcome.run)
