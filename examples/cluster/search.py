"""Run a search from one file that holds its recipe.

    ray submit cluster.yaml search.py -- --address auto --out s3://bucket/run     # on a cluster of `ray up`
    python search.py --out run                                                    # on this machine

`ray submit` copies this file to the head node and runs it there. The head and the workers need raynas, which
cluster.yaml installs, and no other file. For a recipe file and any cluster, use `ray job submit -- raynas run RECIPE`.
"""

import argparse
import os

RECIPE = """
method: {name: spos}
space: {name: nas-bench-macro, width: 0.25, resolution: 16}
data: {name: digits}
budget: {macs: {min: 850k, max: 1M}}
training: {epochs: 4, batch_size: 64, learning_rate: 0.1}
search: {population: 16, generations: 4}
evaluation: {recalibration_images: 128, recalibration_batch_size: 64}
fit: {epochs: 4, batch_size: 64, learning_rate: 0.1}
scale: {train: {workers: 1}, evaluate: {actors: 1}}
"""

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--out", default="runs/search", help="the run folder: a folder that all nodes share, or a bucket"
    )
    parser.add_argument("--address", help="the address of a cluster, such as auto; without it, Ray starts here")
    parser.add_argument("--set", dest="changes", action="append", default=[], metavar="PATH=VALUE")
    arguments = parser.parse_args()
    if arguments.address:
        os.environ["RAY_ADDRESS"] = arguments.address
    import yaml

    import raynas

    outcome = raynas.run(yaml.safe_load(RECIPE), arguments.out, arguments.changes)
    print(outcome.front.to_string(index=False))
    print(outcome.run)
