"""Adds what timm's model of a variant has to facts.json.

pip install timm && python facts.py xxtiny
"""

import json
import sys
from pathlib import Path

import timm

FACTS = Path(__file__).parent / "facts.json"


def main():
    """Writes keys, shapes and the number of parameters."""
    (variant,) = sys.argv[1:]
    model = timm.create_model(f"gcvit_{variant}")
    facts = json.loads(FACTS.read_text())
    facts[f"timm_{variant}"] = {
        "params": sum(p.numel() for p in model.parameters()),
        "keys": {k: list(v.shape) for k, v in model.state_dict().items()},
    }
    FACTS.write_text(json.dumps(facts, indent=0))


if __name__ == "__main__":
    main()
