"""Prints, as JSON, what a user without the shape checks of the tests is told about input of the wrong shape."""

import json

import numpy as np
import torch
from PIL import Image
from tiny_encoder import images, tiny_encoder

from fsl_explain import explain, saliency

encoder, query, supports = tiny_encoder(), images(seed=1), images(2, 1, seed=2)
pair = {"jay": images(1), "wren": images(1)[..., :4]}

CALLS = {
    "query without channels": lambda: explain(encoder, query[0], supports),
    "gray query": lambda: explain(encoder, query[:1], supports),
    "nested queries": lambda: explain(encoder, images(2, 2), supports),
    "no query": lambda: explain(encoder, images(0), supports),
    "array as query": lambda: explain(encoder, query.numpy(), supports),
    "array to saliency": lambda: saliency(encoder, query.numpy()),
    "flat supports": lambda: explain(encoder, query, supports[0]),
    "no class": lambda: explain(encoder, query, images(0, 1)),
    "no named class": lambda: explain(encoder, query, {}),
    "no shot": lambda: explain(encoder, query, images(2, 0)),
    "one image as a class": lambda: explain(encoder, query, {"jay": query}),
    "list of supports": lambda: explain(encoder, query, [query, query]),
    "list as a class": lambda: explain(encoder, query, {"jay": [query]}),
    "two sizes": lambda: explain(encoder, query, pair),
    "fraction as target": lambda: explain(encoder, query, supports, target=0.5),
    "picture to preprocess": lambda: encoder.preprocess(Image.new("RGB", (4, 4))),
    "index of another kind": lambda: explain(encoder, query, supports, "contrast", target=0, against=np.int64(1)),
}


def answer(call):
    try:
        result = call()
    except (ValueError, TypeError, LookupError) as error:
        return f"{type(error).__name__}: {error}"
    against = getattr(result, "against", None)
    return "no error" if against is None else str(int(torch.argmax(against)))


if __name__ == "__main__":
    print(json.dumps({name: answer(call) for name, call in CALLS.items()}))
