"""What quantization costs the big variants in precision.

    python benchmarks/quantize.py [VARIANT ...]

Random weights, 224 x 224, 1000 classes; int8 is calibrated on 32 parts of two
photographs, and all are compared on the first 8. The dense kernels
are three times those of a new model, which would hardly look at its image.
Prints a Markdown table, of the logits' signal-to-noise ratio among others.
"""

import argparse
import json
import tempfile
from pathlib import Path

import keras
from contenders import machine

from gcvit_export import export_litert
from gcvit_export.samples import photographs
from gcvit_keras.models.constructors import CONSTRUCTORS

WAYS = (None, "float16", "dynamic", "int8")


def main():
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "variants",
        nargs="*",
        default=["tiny", "small", "base"],
        metavar="VARIANT",
        help="Default: tiny, small and base.",
    )
    variants = parser.parse_args().variants
    facts = machine()
    print(f"{facts['cpu']}, {facts['cores']} cores, {facts['date']}\n")
    print(
        "| | | size, MB | largest difference | same class | signal to noise |"
    )
    print("|---" * 6 + "|")
    for variant in variants:
        keras.utils.set_random_seed(0)
        model = CONSTRUCTORS[variant](weights=None)
        for weight in model.trainable_variables:
            if weight.path.endswith("kernel") and len(weight.shape) == 2:
                weight.assign(3 * weight)
        for way in WAYS:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder, "model.tflite")
                try:
                    export_litert(
                        model,
                        path,
                        way,
                        photographs(224, 224, count=32)
                        if way == "int8"
                        else None,
                    )
                    found = json.loads(
                        path.with_name(
                            f"{path.name}.verification.json"
                        ).read_text()
                    )
                except ValueError as error:
                    print(f"| {variant} | {way} | {error} | | | |")
                    continue
            print(
                f"| {variant} | {way or 'float32'} "
                f"| {found['size'] / 1e6:.1f} | {found['difference']:.1e} "
                f"| {found['agreement']:.0%} | {found['snr_db']:.1f} dB |",
                flush=True,
            )


if __name__ == "__main__":
    main()
