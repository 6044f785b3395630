"""Official checkpoints written from networks of ours: each file's content as the official training code saves it.

Each function takes our state dict, the head's below ``head.``, and names tensors as the modules of the official code
do, by hand and without the key maps. What a release keeps beside the encoder is random.
"""

import torch

COUNTERS = "num_batches_tracked"


def of_trunk(ours):
    return {name: value for name, value in ours.items() if not name.startswith("head.")}


def noise(*shape):
    return torch.rand(*shape)


def moco(ours, fc):
    """``facebookresearch/moco``: DataParallel around a query encoder, a key encoder and a queue."""
    official = {}
    for encoder in ("encoder_q", "encoder_k"):
        for name, value in ours.items():
            inner = name
            for our_head, official_head in fc.items():
                inner = inner.replace(our_head, official_head)
            lag = 0 if encoder == "encoder_q" or name.endswith(COUNTERS) else 0.5
            official[f"module.{encoder}.{inner}"] = value + lag
    official["module.queue"] = noise(128, 16)
    official["module.queue_ptr"] = torch.zeros(1, dtype=torch.long)
    return {"epoch": 200, "arch": "resnet50", "state_dict": official, "optimizer": {"state": {}, "param_groups": []}}


def moco_v1(ours):
    return moco(ours, {"head.0.": "fc."})


def moco_v2(ours):
    return moco(ours, {"head.0.": "fc.0.", "head.2.": "fc.2."})


def npid(ours):
    """``lemniscate.pytorch``, without the memory, which is a live object: see the tests of pickles."""
    official = {"module." + name.replace("head.0.", "fc."): value for name, value in ours.items()}
    return {"epoch": 200, "arch": "resnet18", "state_dict": official, "best_prec1": torch.tensor(46.5), "optimizer": {}}


def swav_parts():
    return {
        "projection_head.0.weight": noise(4, 8),
        "projection_head.1.running_mean": noise(4),
        "projection_head.3.weight": noise(2, 4),
        "prototypes.weight": noise(3, 2),
    }


def swav(ours):
    """``facebookresearch/swav``: the published file is the state dict itself."""
    return {f"module.{name}": value for name, value in {**of_trunk(ours), **swav_parts()}.items()}


def swav_checkpoint(ours):
    """The same, as its training saves it."""
    return {"epoch": 400, "state_dict": swav(ours), "optimizer": {}}


def bolts_swav(ours):
    official = {f"model.{name}": value for name, value in {**of_trunk(ours), **swav_parts()}.items()}
    return {"epoch": 8, "global_step": 1, "state_dict": official, "hyper_parameters": {"arch": "resnet50"}}


def bolts_simclr(ours):
    official = {f"encoder.{name}": value for name, value in of_trunk(ours).items()}
    official |= {"encoder.fc.weight": noise(3, 8), "encoder.fc.bias": noise(3)}
    official |= {"projection.model.0.weight": noise(4, 8), "projection.model.1.running_var": noise(4)}
    official["non_linear_evaluator.block_forward.2.weight"] = noise(3, 8)
    return {"epoch": 8, "state_dict": official, "hparams_name": "kwargs", "lr_schedulers": [{"last_epoch": 3}]}


def ms_loss(ours):
    """``research-ms-loss``: a Sequential of backbone and head."""
    official = {}
    for name, value in ours.items():
        official["head.fc." + name.split(".")[-1] if name.startswith("head.") else f"backbone.{name}"] = value
    return {"model": official, "optimizer": {}, "scheduler": {}, "iteration": 3000}


def cadene_imagenet(ours):
    """``pretrained-models.pytorch``: ImageNet's classifier, no counters, and batch normalization in rows of 1×C."""
    official = {}
    for name, value in of_trunk(ours).items():
        if not name.endswith(COUNTERS):
            official[name] = value.reshape(1, -1) if "_bn." in name else value
    return official | {"last_linear.weight": noise(1000, 1024), "last_linear.bias": noise(1000)}


def torchvision(ours):
    return dict(ours)


def torchvision_resnet18(ours):
    return of_trunk(ours) | {"fc.weight": noise(1000, 512), "fc.bias": noise(1000)}


def closer_look_blocks(ours, conv, norm, rest):
    """``CloserLookFewShot``: a block keeps its layers as C and BN and again in a Sequential of its own."""
    official = {}
    for block in range(4):
        for kind in ("weight", "bias"):
            value = ours[f"{conv.format(block + 1)}.{kind}"]
            official[f"feature.trunk.{block}.C.{kind}"] = official[f"feature.trunk.{block}.trunk.0.{kind}"] = value
        for kind in ("weight", "bias", "running_mean", "running_var", COUNTERS):
            value = ours[f"{norm.format(block + 1)}.{kind}"]
            official[f"feature.trunk.{block}.BN.{kind}"] = official[f"feature.trunk.{block}.trunk.1.{kind}"] = value
    return {"epoch": 399, "state": official | rest}


def closer_look_conv4(ours):
    return closer_look_blocks(ours, "blocks.block{}.conv", "blocks.block{}.norm", {"classifier.weight": noise(200, 4)})


def closer_look_conv4np(ours):
    return closer_look_blocks(ours, "layer{}.0", "layer{}.1", {"relation_module.layer1.C.weight": noise(2, 4)})


def closer_look_resnet18(ours):
    names = {"conv1": "trunk.0", "bn1": "trunk.1"}
    for index, ours_block in enumerate(f"layer{layer}.{block}" for layer in (1, 2, 3, 4) for block in (0, 1)):
        names |= {f"{ours_block}.conv{i}": f"trunk.{index + 4}.C{i}" for i in (1, 2)}
        names |= {f"{ours_block}.bn{i}": f"trunk.{index + 4}.BN{i}" for i in (1, 2)}
        names[f"{ours_block}.downsample.0"] = f"trunk.{index + 4}.shortcut"
        names[f"{ours_block}.downsample.1"] = f"trunk.{index + 4}.BNshortcut"
    official = {}
    for name, value in ours.items():
        module, _, kind = name.rpartition(".")
        official[f"feature.{names[module]}.{kind}"] = value
    return {"epoch": 399, "state": official | {"classifier.L.weight_g": noise(200, 1)}}


def frn_conv4(ours):
    official = {"scale": noise(1), "r": noise(2)}
    for block, index in ((1, 0), (2, 3), (3, 6), (4, 9)):
        for our_layer, layer in (("conv", 0), ("norm", 1)):
            prefix = f"blocks.block{block}.{our_layer}."
            for name in (name for name in ours if name.startswith(prefix)):
                official[f"feature_extractor.layers.{index}.layers.{layer}.{name.removeprefix(prefix)}"] = ours[name]
    return official


def frn_resnet12(ours):
    official = {f"feature_extractor.{name}": value for name, value in ours.items()}
    return official | {"scale": noise(1), "r": noise(2), "cat_mat": noise(3, 2, 4)}


def metaoptnet(ours):
    """``MetaOptNet``: the embedding under DataParallel, and the scale of its head."""
    return {"embedding": {f"module.{name}": value for name, value in ours.items()}, "head": {"scale": noise(1)}}


def can(ours):
    official = {f"base.{name}": value for name, value in ours.items()}
    official |= {"cam.conv1.weight": noise(6, 36, 1, 1), "clasifier.weight": noise(64, 4, 1, 1)}
    return {"state_dict": official, "acc": 63.85, "epoch": 70}


def relation_network(ours):
    """``LearningToCompare_FSL``: saved by a PyTorch that did not count batches."""
    return {name: value for name, value in ours.items() if COUNTERS not in name}


def libfewshot(ours):
    """The best model of ``LibFewShot``, a state dict by itself."""
    official = {f"emb_func.{name}": value for name, value in ours.items()}
    return official | {"classifier.weight": noise(64, 4)}


def libfewshot_conv4(ours):
    renamed = {}
    for name, value in ours.items():
        _, block, layer, kind = name.split(".")
        renamed[f"layer{block.removeprefix('block')}.{'0' if layer == 'conv' else '1'}.{kind}"] = value
    return libfewshot(renamed)


def libfewshot_last(ours):
    """Its last model, saved with the optimizer."""
    return {"epoch": 99, "model": libfewshot(ours), "optimizer": {}, "lr_scheduler": {}}
