"""Wrong recipes, budgets and settings of methods."""

from __future__ import annotations

from tests.raynas.cli.bad_input.case import Case, case, changed, file


def _text(fault: str, text: str | bytes, *parts: str) -> Case:
    return case(fault, ["run", "recipe.yaml", "--out", "out"], *parts, setup=file("recipe.yaml", text))


FILES = [
    case("no such recipe", ["run", "pad-nas-digit"], "There is no recipe 'pad-nas-digit'", "pad-nas-digits"),
    case("a folder for a recipe", ["run", "."], "There is no recipe '.'"),
    case("a path longer than any", ["run", "a" * 300], "cannot be read: File name too long"),
    _text("an empty file", "", "not a mapping of keys to values"),
    _text("a list", "- a\n- b\n", "not a mapping of keys to values"),
    _text("bytes that are no text", bytes(range(256)), "YAML cannot read the recipe recipe.yaml"),
    _text("broken YAML", "method: {name: [", "YAML cannot read", "line 1, column 17"),
    _text("nested 3,000 deep", "[" * 3000, "YAML cannot read", "nested too deeply"),
    _text("a date that is none", "method: 2001-99-99", "YAML cannot read", "month must be in 1..12"),
    _text("a number of 5,000 digits", f"seed: {'9' * 5000}", "YAML cannot read", "limit"),
    _text(
        "Python to execute", "method: !!python/object/apply:os.mkdir [EXECUTED]", "could not determine a constructor"
    ),
    _text("one key twice", "method: spos\nmethod: fp-nas", "the key 'method' is there twice"),
    _text("a number for a key", "1: 2\nmethod: spos\nspace: fbnet", "keys should be strings"),
    _text("no method", "space: fbnet", "The recipe lacks 'method'"),
]

KEYS = [
    changed("a rate that nobody chose", "method=spos", "training.epochs and training.learning_rate have no default"),
    changed("an unknown part", "trainings.epochs=3", "no key 'trainings'", "'training'"),
    changed("an unknown key", "training.epoch=3", "no key 'training.epoch'", "'epochs'"),
    changed("an unknown key of the data", "data.pth=x", "no key 'data.pth'", "'path'"),
    changed("an unknown key of the teacher", "fit.teacher={model: alexnet, wights: x}", "'weights'"),
    changed("an unknown setting of the method", "method.stage=3", "method pad-nas", "'stage'", "'stages'"),
    changed("an unknown setting of the search", "search.generation=3", "'search.generation'", "'generations'"),
    changed("an unknown method", "method=padnas", "'padnas'", "'pad-nas'"),
    changed("a method without a name", "method={stages: 3}", "needs a name"),
    changed("a change without a value", "seed", "--set takes PATH=VALUE", "'seed'"),
    changed("a change without a path", "=3", "--set takes PATH=VALUE"),
    changed("a change that is no YAML", "seed=[", "YAML cannot read the value of seed"),
]

VALUES = [
    changed("a word for a whole number", "training.epochs=many", "training.epochs = 'many'", "whole number"),
    changed("a word for a number", "training.weight_decay=little", "'little'", "has to be a number"),
    changed("half an epoch", "training.epochs=0.5", "training.epochs = 0.5", "whole number"),
    changed("no epochs", "training.epochs=0", "training.epochs = 0", "at least 1"),
    changed("a negative batch", "training.batch_size=-1", "at least 1"),
    changed("true for a number", "training.batch_size=true", "a number, not true or false"),
    changed("a list for a number", "seed=[1]", "seed = [1]", "whole number"),
    changed("a mapping for a number", "seed.x=1", "seed = {'x': 1}", "whole number"),
    changed("nothing for a number", "seed=null", "seed = None"),
    changed("a negative seed", "seed=-1", "at least 0"),
    changed("not a number", "training.clip_norm=.nan", "clip_norm = nan", "finite number"),
    changed("an infinite number", "training.weight_decay=.inf", "weight_decay = inf", "finite number"),
    changed("too large for a float", "fit.learning_rate=1.0e+400", "learning_rate = inf", "finite number"),
    changed("infinitely many GPUs", "scale.train.gpus=.inf", "scale.train.gpus = inf", "finite number"),
    changed("a word for true or false", "scale.deterministic=maybe", "true or false"),
    changed("a number for a part", "training=3", "training = 3", "a mapping of keys to values"),
    changed("a word for a list", "notes=hello", "notes = 'hello'", "it has to be a list"),
    changed("an unknown optimizer", "training.optimizer=adam", "'sgd' or 'rmsprop'"),
    changed("an unknown schedule", "fit.schedule=step", "'linear', 'cosine', 'steps' or 'exponential'"),
    changed("a schedule without its milestones", "training.schedule=steps", "milestones go together"),
    changed("an unknown tracker", "track=[tensorbord]", "'mlflow' or 'wandb'"),
    changed("micro-batches of no image", "training.accumulate=33", "batch_size = 32 is less than", "33 micro-batches"),
    changed("workers without an image", "scale.train.workers=33", "batch_size = 32 is less than 33 workers"),
    changed("a batch of more than all images", "training.batch_size=100000", "100000", "training images"),
    changed("a teacher's images without spread", "fit.teacher={model: alexnet, std: [0, 1, 1]}", "std.0 = 0"),
]

BUDGETS = [
    changed("an unknown resource", "budget.mac.max=1M", "mac", "macs"),
    changed("an unknown limit", "budget.macs.maximum=1M", "'budget.macs.maximum'; the nearest is 'max'"),
    changed("an unknown suffix", "budget.macs.max=50X", "macs.max = '50X'", "no amount"),
    changed("a negative limit", "budget.macs.max=-1", "at least 0"),
    changed("latency without a table", "budget.latency_ms.max=3", "there is no latency table"),
    changed("a front of latency without a table", "search.cost=latency_ms", "latency_ms", "macs, params"),
    changed("too little for any", "budget.macs.max=10", "85,568 to 817,344"),
    changed("too much for any", "budget.macs.min=1G", "85,568 to 817,344"),
    changed("a least above the most", "budget.macs={min: 300k, max: 200k}", "macs can be"),
    changed("no limit", "budget.macs={}", "limits nothing"),
    changed("a target without tolerance", "budget.macs={target: 300k}", "tolerance"),
    changed("a target and a most", "budget.macs={target: 1M, tolerance: 0.1, max: 2M}", "give either"),
    changed(
        "limits that exclude each other",
        ["budget.macs.max=100k", "budget.params.min=60k"],
        *("exclude each other", "params can be"),
    ),
]


def _fp_nas(fault: str, change: str, part: str) -> Case:
    return changed(fault, change, part, recipe="fp-nas-digits")


def _hm_nas(fault: str, change: str, part: str) -> Case:
    return changed(fault, change, part, recipe="hm-nas-digits")


METHODS = [
    changed("the rate of all stages", "training.learning_rate=0.3", "set method.learning_rates"),
    changed("a population of one", "search.population=1", "at least 2"),
    _fp_nas("no samples a nat", "method.sample_size={per_nat: 0}", "per_nat should be greater than 0"),
    _fp_nas("no samples", "method.sample_size={fixed: 0}", "fixed should be at least 1"),
    _fp_nas("two numbers of samples", "method.sample_size={fixed: 1, per_nat: 2}", "{fixed: K} or {per_nat: lambda}"),
    _fp_nas("a bare number of samples", "method.sample_size=14", "either {fixed: K} or {per_nat: lambda}"),
    _fp_nas("joint from the last epoch", "method.joint_from=90", "below method.epochs (90)"),
    _fp_nas("warm-up alone", "method.warmup_epochs=90", "below method.epochs, which is 90"),
    _fp_nas("FP-NAS's limit below all", "budget.macs={max: 100k}", "macs can be 407,744 to 1,581,628"),
    _fp_nas("FP-NAS's least", "budget.macs={min: 500k}", "give budget.macs a max or a target"),
    _fp_nas("FP-NAS's epochs", "training.epochs=3", "method.epochs"),
    _hm_nas("HM-NAS's budget", "budget.macs={max: 10M}", "The method hm-nas accepts no budget in cells"),
    _hm_nas("HM-NAS on blocks", "space={name: proxylessnas}", "no cells with edges for the method hm-nas"),
    _hm_nas("HM-NAS on single edges", "space={name: nats-bench}", "n edge of nats-bench takes one"),
    _hm_nas("HM-NAS on parts of channels", "space.partial=4", "leave space.partial out"),
    _hm_nas("masks that hide all", "method.threshold=0.02", "node2 and all other nodes would lose all inputs"),
    _hm_nas(
        "HM-NAS's warm-up alone",
        "method.warmup_epochs=10",
        "method.warmup_epochs is 10; it must be below training.epochs, which is 10",
    ),
    _hm_nas(
        "masks that cannot reach the threshold",
        "method.max_mask_change=null",
        "method.mask_rate=1e-05 moves a mask by at most",
    ),
    _hm_nas("two ways to one rate", "method.mask_rate=1e-4", "mask_rate and max_mask_change are two ways"),
    _hm_nas("no masks", "method.levels=[]", "it needs at least 1 entry"),
    _hm_nas(
        "a tuning batch of more than all images", "fit.batch_size=5000", "fit.batch_size is 5000, but there are only"
    ),
]
