"""Reads what a target's file says of an operator form, as lib/Target/Rules.cpp does."""
import pathlib
import re

import yaml

TARGETS = pathlib.Path(__file__).resolve().parent.parent / "configs/targets"
IRREGULAR = {"MatMul": "matmul", "SimplifiedLayerNormalization": "rms_normalization", "TopK": "top_k",
             "GatherND": "gather_nd", "ScatterND": "scatter_nd"}


def operationName(operatorType):
    """The nn operation that is written as this ONNX operator."""
    return IRREGULAR.get(operatorType) or re.sub(r"(?<![A-Z])(?<!^)([A-Z])", r"_\1", operatorType).lower()


def words(value):
    return value if isinstance(value, list) else [value]


def matches(pattern, encoding):
    return all(encoding[key] in words(value) for key, value in pattern.items())


class Rules:
    def __init__(self, target):
        own = yaml.safe_load((TARGETS / f"{target}.yaml").read_text())
        shared = yaml.safe_load((TARGETS / "rules" / f"{own['rules']}.yaml").read_text()) if "rules" in own else {}
        self.options = own["options"]
        self.legality = own.get("legality", []) + shared.get("legality", [])
        self.bounds = own.get("bounds", []) + shared.get("bounds", [])

    def legalityRule(self, operation, operands, result, rank):
        """The first rule that matches."""
        for rule in self.legality:
            names = words(rule["operations"])
            patterns = rule.get("operands", [])
            if ((operation in names or "*" in names) and len(patterns) <= len(operands) and
                    all(matches(p, e) for p, e in zip(patterns, operands)) and
                    ("any-operand" not in rule or any(matches(rule["any-operand"], e) for e in operands)) and
                    matches(rule.get("result", {}), result) and rank >= rule.get("minimum-rank", 0)):
                return rule
        return None

    def bound(self, operation, storage, weight=None):
        for rule in self.bounds:
            names = words(rule["operations"])
            if ((operation in names or "*" in names) and storage in words(rule.get("storage", storage)) and
                    ("weight" not in rule or (weight is not None and matches(rule["weight"], weight)))):
                return rule
        raise ValueError(f"no bound for {operation} at {storage}")


def targetOf(soc):
    """The name of the target whose back end compiles for `soc`."""
    for path in sorted(TARGETS.glob("*.yaml")):
        options = yaml.safe_load(path.read_text()).get("options", {})
        if str(options.get("soc_model")) == str(soc):
            return path.stem
    raise SystemExit(f"no target has soc_model {soc}")
