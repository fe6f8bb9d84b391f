#!/usr/bin/env python3
"""Writes the hostile models of this folder and cases.json: what is said about each.

A case is a file, the pattern of the error line and the exit code (2 bad input, 3 unsupported, 5 over a
limit). Files too large to keep, and those that need links or special files, are made when the test runs
(`large_models`, and tests/e2e/hostile/run_hostile.py).

    make_hostile.py [FOLDER]     needs numpy and onnx; the same bytes every time
"""
import json
import pathlib
import struct
import sys

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

CASES = {}
BAD, UNSUPPORTED, LIMIT = 2, 3, 5


def case(name, data, pattern, code=BAD):
    assert name not in CASES, name
    if isinstance(data, onnx.ModelProto):
        data = data.SerializeToString(deterministic=True)
    CASES[name] = (data, pattern, code)


# -- sound parts ------------------------------------------------------------------------------------------
def value(name, shape=(2, 3), kind=TensorProto.FLOAT):
    return helper.make_tensor_value_info(name, kind, shape)


def node(op, inputs, outputs, domain="", **attributes):
    return helper.make_node(op, inputs, outputs, name="n_" + outputs[0] if outputs else "n", domain=domain, **attributes)


def weight(name="w", array=None):
    return numpy_helper.from_array(np.arange(6, dtype=np.float32).reshape(2, 3) if array is None else array, name)


def model(nodes=None, inputs=None, outputs=None, initializers=None, opset=21, ir=10, opsets=None, functions=()):
    graph = helper.make_graph(
        [node("Add", ["x", "w"], ["y"])] if nodes is None else nodes, "g",
        [value("x")] if inputs is None else inputs, [value("y")] if outputs is None else outputs,
        [weight()] if initializers is None else initializers)
    opsets = [helper.make_opsetid("", opset)] if opsets is None else opsets
    return helper.make_model(graph, opset_imports=opsets, ir_version=ir, functions=list(functions))


def one(op, inputs, output_shape=(2, 3), kinds=(), initializers=(), opset=21, domain="", outputs=("y",), **attributes):
    """A model of one node; `inputs` maps names to shapes, initializers excluded."""
    kinds = dict(kinds)
    opsets = [helper.make_opsetid("", opset)] + ([helper.make_opsetid(domain, 1)] if domain else [])
    names = list(inputs) + [i.name for i in initializers]
    return model([node(op, names, list(outputs), domain, **attributes)],
                 [value(n, s, kinds.get(n, TensorProto.FLOAT)) for n, s in inputs.items()],
                 [value("y", None, kinds.get("y", TensorProto.FLOAT))], list(initializers), opsets=opsets)


def edited(edit, **arguments):
    result = model(**arguments)
    edit(result)
    return result


# -- wire format ------------------------------------------------------------------------------------------
def varint(number):
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes(out + bytes([number]))


def tag(field, wire):
    return varint(field << 3 | wire)


def chunk(field, payload):
    return tag(field, 2) + varint(len(payload)) + payload


def number(field, n):
    return tag(field, 0) + varint(n)


HEADER = number(1, 10) + chunk(8, number(2, 21))


def with_graph(payload):
    return HEADER + chunk(7, payload)


def with_tensor(payload):
    """A model with an initializer of raw fields, after its name."""
    return with_graph(chunk(5, chunk(8, b"w") + payload))


def wire_cases():
    sound = model().SerializeToString(deterministic=True)
    graph = sound.index(b"\x3a")
    for position, what in ((1, "ir_version.*cut off"), (graph + 1, "graph.*cut off"), (graph + 2, "claims"),
                           (len(sound) // 3, "claims|cut off"), (len(sound) // 2, "claims|cut off"),
                           (len(sound) - 9, "claims|cut off"), (len(sound) - 1, "claims|cut off")):
        case(f"truncated-{position:03}", sound[:position], what)
    raw = sound.index(b"\x4a\x18")
    case("truncated-in-raw-data", sound[:raw + 10], "claims")
    case("empty-file", b"", "is empty")
    case("text-file", b"this is not a model, it is a line of text\n" * 3, "wire type|field number|claims|cut off")
    case("zip-file", b"PK\x03\x04" + bytes(60), "wire type|field number|claims|cut off|given twice")
    case("zeros", bytes(64), "field number 0")
    case("no-graph", HEADER, "no graph")
    case("field-number-zero", HEADER + b"\x02\x00", "field number 0 is not legal")
    case("field-number-too-large", HEADER + varint(1 << 40) + b"\x00", "field number .* is not legal")
    case("group-start", HEADER + tag(7, 3) + tag(7, 4), "wire type 3 is not used")
    case("wire-type-6", HEADER + tag(7, 6), "wire type 6 is not used")
    case("wire-type-7", HEADER + tag(7, 7), "wire type 7 is not used")
    case("wire-ir-version-string", chunk(1, b"10"), "ir_version.*wire type 2, wanted 0")
    case("wire-graph-number", HEADER + number(7, 5), "graph.*wire type 0, wanted 2")
    case("wire-name-number", with_graph(chunk(1, number(3, 7))), r"graph\.node\[0\]\.name.*wire type 0, wanted 2")
    case("wire-raw-data-fixed32", with_tensor(tag(9, 5) + bytes(4)), "raw_data.*wire type 5, wanted 2")
    case("wire-dims-fixed64", with_tensor(tag(1, 1) + bytes(8)), "dims.*wire type 1, wanted 0")
    case("wire-float-varint", with_graph(chunk(1, chunk(5, number(2, 3)))), r"attribute\[0\]\.f.*wire type 0, wanted 5")
    case("length-2gib-graph", HEADER + tag(7, 2) + varint(2 << 30) + b"\x0a\x00", "claims 2147483648 bytes, but 2 are left")
    case("length-2gib-raw-data", with_graph(tag(5, 2) + varint(12) + tag(9, 2) + varint(2 << 30) + bytes(5)), "claims|left")
    case("length-maximum", HEADER + tag(7, 2) + b"\xff" * 9 + b"\x01", "claims 18446744073709551615 bytes")
    case("length-past-parent", with_graph(tag(1, 2) + varint(50) + bytes(4)), r"node\[0\].*claims 50 bytes, but 4")
    case("varint-11-bytes-tag", HEADER + b"\xff" * 10 + b"\x01", "longer than 10 bytes")
    case("varint-11-bytes-value", b"\x08" + b"\x80" * 10 + b"\x01", "ir_version.*longer than 10 bytes")
    case("varint-11-bytes-length", HEADER + tag(7, 2) + b"\x80" * 20, "longer than 10 bytes")
    case("varint-endless", b"\x08" + b"\x80" * 4000, "longer than 10 bytes")
    case("packed-dims-cut", with_tensor(chunk(1, b"\x80\x80")), "dims.*cut off")
    case("packed-floats-odd", with_tensor(chunk(4, bytes(7))), "4-byte numbers has 7 bytes")
    case("graph-twice", with_graph(b"") + chunk(7, b""), "graph.*given twice")
    case("node-name-twice", with_graph(chunk(1, chunk(3, b"a") + chunk(3, b"b"))), "name.*given twice")
    case("raw-data-twice", with_tensor(chunk(9, b"1234") + chunk(9, b"1234")), "raw_data.*given twice")
    nested = b""
    for _ in range(60):
        nested = chunk(4, chunk(1, nested))
    case("nesting-sequence-types", with_graph(chunk(11, chunk(1, b"x") + chunk(2, nested))), "nest deeper than 100", LIMIT)
    nested = b""
    for _ in range(3000):
        nested = chunk(6, chunk(1, chunk(5, nested)))
    case("nesting-graphs", with_graph(chunk(1, chunk(5, nested))), "nest deeper than 100", LIMIT)
    case("name-not-utf8", with_graph(chunk(1, chunk(3, b"\xc3\x28"))), "not UTF-8")
    case("name-with-nul", with_graph(chunk(1, chunk(1, b"a\0b"))), "contains a NUL byte")
    case("name-64kib-and-1", with_graph(chunk(1, chunk(3, b"n" * 65537))), "65537 bytes, over the limit of 65536", LIMIT)
    case("rank-33", with_tensor(chunk(1, b"\x01" * 33) + number(2, 1) + chunk(9, bytes(4))), "rank 33 is over", LIMIT)
    case("rank-33-unpacked", with_tensor(number(1, 1) * 33 + number(2, 1) + chunk(9, bytes(4))), "rank 33 is over", LIMIT)
    case("rank-100000", with_tensor(chunk(1, b"\x01" * 100000)), "rank 100000 is over", LIMIT)
    case("float-data-as-int", with_tensor(number(1, 2) + number(2, 7) + chunk(4, bytes(8))), "must be in int64_data")
    case("cut-data-twice", with_tensor(number(1, 512) + number(2, 1) + chunk(9, bytes(2048)) + chunk(4, bytes(2048))),
         "stored twice")
    case("cut-data-and-external", with_tensor(number(1, 512) + number(2, 1) + chunk(9, bytes(2048)) + number(14, 1)),
         "both external data and data of its own")


def version_cases():
    def drop_opsets(m):
        del m.opset_import[:]
    ids = helper.make_opsetid
    case("opset-missing", edited(drop_opsets), "imports no operator set")
    case("opset-twice", model(opsets=[ids("", 21), ids("", 21)]), "'ai.onnx' is imported twice")
    case("opset-two-spellings", model(opsets=[ids("", 21), ids("ai.onnx", 20)]), "'ai.onnx' is imported twice")
    case("opset-0", model(opset=0), "no positive version")
    case("opset-negative", model(opset=-4), "no positive version")
    case("opset-7", model(opset=7), "between 11 and 23, but is 7", UNSUPPORTED)
    case("opset-99", model(opset=99), "between 11 and 23, but is 99", UNSUPPORTED)
    case("opset-huge", model(opset=2**62), "between 11 and 23", UNSUPPORTED)
    case("opset-domain-not-imported", model([node("Foo", ["x"], ["y"], "acme")]), "domain 'acme', which the model does not import")
    case("ir-version-0", model(ir=0), "ir_version must be between 3 and 13, but is 0")
    case("ir-version-negative", model(ir=-1), "ir_version must be between 3 and 13, but is -1")
    case("ir-version-2", model(ir=2), "ir_version must be between 3 and 13, but is 2", UNSUPPORTED)
    case("ir-version-99", model(ir=99), "ir_version must be between 3 and 13, but is 99", UNSUPPORTED)
    case("ir-version-missing", edited(lambda m: m.ClearField("ir_version")), "but is missing")


def tensor(dims=(2, 3), kind=TensorProto.FLOAT, **fields):
    result = TensorProto(name="w", data_type=kind, dims=dims)
    for key, content in fields.items():
        if isinstance(content, (bytes, int)):
            setattr(result, key, content)
        else:
            getattr(result, key).extend(content)
    return result


def tensor_cases():
    def put(name, t, pattern, code=BAD):
        case(name, model(initializers=[t]), pattern, code)
    put("dim-negative", tensor((-2, 3), raw_data=bytes(24)), "dimension -2 is negative")
    put("dim-minimum", tensor((-2**63,), raw_data=bytes(24)), "is negative")
    put("dim-2-31-squared", tensor((2**31, 2**31), raw_data=bytes(24)), "more than 1099511627776 elements", LIMIT)
    put("dim-maximum", tensor((2**63 - 1,), raw_data=bytes(24)), "more than 1099511627776 elements", LIMIT)
    put("dim-product-wraps", tensor((2**32, 2**32, 6), raw_data=bytes(24)), "more than 1099511627776 elements", LIMIT)
    put("dim-zero-hides-product", tensor((0, 2**40, 2**40)), "more than 1099511627776 elements", LIMIT)
    put("dim-claims-terabyte", tensor((2**38,), raw_data=bytes(24)), "has 24 bytes, but 274877906944 elements of float take")
    put("raw-data-short", tensor(raw_data=bytes(23)), "raw_data has 23 bytes, but 6 elements of float take 24")
    put("raw-data-long", tensor(raw_data=bytes(25)), "raw_data has 25 bytes, but 6 elements of float take 24")
    put("raw-data-short-cut", tensor((1024,), raw_data=bytes(4095)), "raw_data has 4095 bytes, but 1024 elements")
    put("raw-data-and-float-data", tensor(raw_data=bytes(24), float_data=[0.0] * 6), "stored more than once")
    put("no-data", tensor(), "has no data, but its shape wants 6 elements")
    put("float-data-short", tensor(float_data=[0.0] * 5), "float_data has 5 entries, but the shape wants 6")
    put("float-data-long-cut", tensor(float_data=[0.0] * 600), "float_data has 600 entries, but the shape wants 6")
    put("int32-data-for-float", tensor(int32_data=[1] * 6), "must be in float_data or raw_data, but are in int32_data")
    put("int8-out-of-range", tensor(kind=TensorProto.INT8, int32_data=[1, 2, 3, 4, 5, 300]), "cannot be of type|must be of type")
    case("int8-value-out-of-range", model([node("Cast", ["w"], ["y"], to=1)], [], None,
                                          [tensor(kind=TensorProto.INT8, int32_data=[1, 2, 3, 4, 5, 300])]),
         "value 300 does not fit")
    case("bool-value-2", model([node("Cast", ["w"], ["y"], to=1)], [], None,
                               [tensor(kind=TensorProto.BOOL, raw_data=b"\0\1\0\1\0\2")]), "bool element 5 is 2")
    put("int4-odd-count", tensor((3,), TensorProto.INT4, raw_data=bytes(3)), "raw_data has 3 bytes, but 3 elements of int4 take 2")
    put("data-type-0", tensor(kind=0, raw_data=bytes(24)), "data type 0 is not one that ONNX defines")
    put("data-type-99", tensor(kind=99, raw_data=bytes(24)), "data type 99 is not one that ONNX defines")
    put("string-in-raw-data", tensor(kind=TensorProto.STRING, raw_data=bytes(24)), "strings must be in string_data")
    segment = tensor(raw_data=bytes(24))
    segment.segment.begin, segment.segment.end = 0, 3
    put("segment", segment, "stored in segments", UNSUPPORTED)
    put("nan-in-scale", tensor(raw_data=bytes(23) + b"\x01\x02"), "raw_data has 25 bytes")
    sparse = model()
    sparse.graph.sparse_initializer.add().dims.extend([2, 3])
    case("sparse-initializer", sparse, "sparse initializers", UNSUPPORTED)

    def external(name, pattern, code=BAD, extra=(), **entries):
        t = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=(2, 3), data_location=TensorProto.EXTERNAL)
        for key, content in list(entries.items()) + list(extra):
            t.external_data.add(key=key, value=str(content))
        put("external-" + name, t, pattern, code)
    external("no-location", "has no location", offset=0)
    external("empty-location", "is not a relative path", location="")
    external("dot-dot", "leads outside", location="../hostile/weights.bin")
    external("dot-dot-inside", "leads outside|cannot open", location="a/../../weights.bin")
    external("absolute", "is not a relative path", location="/etc/passwd")
    external("device", "is not a relative path", location="/dev/zero")
    external("proc", "is not a relative path", location="/proc/self/mem")
    external("missing", "No such file", location="no-such-file.bin")
    external("folder", "not a regular file|Is a directory", location=".")
    external("past-end", "lies outside", location="weights.bin", offset=8, length=24)
    external("offset-past-end", "lies outside", location="weights.bin", offset=10**9)
    external("offset-negative", "must be a number of bytes, but is '-8'", location="weights.bin", offset=-8)
    external("offset-hex", "must be a number of bytes, but is '0x0'", location="weights.bin", offset="0x0")
    external("offset-overflow", "must be a number of bytes", location="weights.bin", offset=2**64)
    external("sum-overflow", "lies outside", location="weights.bin", offset=16, length=2**64 - 8)
    external("length-petabyte", "lies outside", location="weights.bin", length=10**15)
    external("length-short", "external_data has 20 bytes, but 6 elements of float take 24", location="weights.bin", length=20)
    external("key-twice", "gives 'offset' twice", location="weights.bin", offset=0, extra=[("offset", 4)])
    both = tensor(raw_data=bytes(24), data_location=TensorProto.EXTERNAL)
    both.external_data.add(key="location", value="weights.bin")
    put("external-and-raw", both, "stored more than once")
    unmarked = tensor(raw_data=bytes(24))
    unmarked.external_data.add(key="location", value="weights.bin")
    put("external-not-marked", unmarked, "data_location is not EXTERNAL")


def graph_cases():
    add = node("Add", ["x", "w"], ["y"])
    case("dangling", model([node("Add", ["x", "ghost"], ["y"])]), "uses tensor 'ghost', which nothing makes")
    case("cycle-self", model([node("Add", ["y", "w"], ["y"])]), "before it is made: the graph has a cycle")
    case("cycle-of-two", model([node("Add", ["x", "b"], ["a"]), node("Add", ["a", "w"], ["b"]), node("Neg", ["b"], ["y"])]),
         "uses tensor 'b' before it is made")
    case("not-sorted", model([node("Neg", ["a"], ["y"]), node("Neg", ["x"], ["a"])]), "before it is made")
    case("duplicate-output", model([add, node("Neg", ["x"], ["y"])]), "the name 'y' is used twice")
    case("duplicate-outputs-of-node", one("Split", {"x": (2, 3)}, outputs=("y", "y"), num_outputs=2), "the name 'y' is used twice")
    case("duplicate-initializer", model(initializers=[weight(), weight()]), "the name 'w' is used twice")
    case("duplicate-input", model(inputs=[value("x"), value("x")]), "'x' is used twice")
    case("output-shadows-input", model([node("Neg", ["x"], ["x"])], outputs=[value("x")]), "the name 'x' is used twice")
    case("initializer-without-name", model(initializers=[weight(""), weight()]), "initializer has no name")
    case("input-without-name", model(inputs=[value(""), value("x")]), "input of the graph has no name")
    case("input-without-type", edited(lambda m: m.graph.input[0].ClearField("type")), "input 'x' has no type")
    case("input-data-type-99", model(inputs=[value("x", kind=99)]), "data type 99, which ONNX does not define")
    case("input-dim-negative", model(inputs=[value("x", (-1, 3))]), "dimension -1 is negative")
    case("input-elements", model(inputs=[value("x", (2**31, 2**31))]), "input 'x' has more than", LIMIT)
    case("input-rank-33", model(inputs=[value("x", [1] * 33)]), "has rank 33, over the limit of 32", LIMIT)
    case("input-without-shape", model(inputs=[value("x", None)]), "has no shape", UNSUPPORTED)
    case("input-is-other-initializer-type", model(inputs=[value("x"), value("w", kind=TensorProto.INT64)]),
         "declared as int64, but its initializer is float")
    case("output-missing", model(outputs=[value("z")]), "output 'z' of the graph is not made")
    case("output-twice", model(outputs=[value("y"), value("y")]), "output 'y' is listed twice")
    case("output-wrong-type", model(outputs=[value("y", kind=TensorProto.INT64)]), "declared as int64, but is float")
    case("no-outputs", model(outputs=[]), "the graph has no outputs")
    case("no-op-type", model([node("", ["x"], ["y"])]), "has no op_type")
    sequence = helper.make_tensor_sequence_value_info("x", TensorProto.FLOAT, None)
    case("input-sequence", model(inputs=[sequence]), "input 'x' is not a tensor", UNSUPPORTED)

    def branch(name, nodes):
        return helper.make_graph(nodes, name, [], [value(name + "_y")])
    condition = weight("c", np.array(True))
    case("if", model([node("If", ["c"], ["y"], then_branch=branch("t", [node("Neg", ["x"], ["t_y"])]),
                           else_branch=branch("e", [node("Abs", ["x"], ["e_y"])]))], initializers=[condition]),
         r"node 'n_y' \(If\): the operator is not supported", UNSUPPORTED)
    case("if-branch-dangling", model([node("If", ["c"], ["y"], then_branch=branch("t", [node("Neg", ["ghost"], ["t_y"])]),
                                           else_branch=branch("e", [node("Abs", ["x"], ["e_y"])]))], initializers=[condition]),
         "uses tensor 'ghost'")
    case("if-branch-shadows", model([node("If", ["c"], ["y"], then_branch=branch("t", [node("Neg", ["x"], ["x"])]),
                                          else_branch=branch("e", [node("Abs", ["x"], ["e_y"])]))], initializers=[condition]),
         "the name 'x' is used twice, here and in an outer graph")


def function_cases():
    def function(name, body, inputs=("a",), outputs=("b",)):
        return helper.make_function("f", name, list(inputs), list(outputs), body, [helper.make_opsetid("", 21),
                                                                                  helper.make_opsetid("f", 1)])
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("f", 1)]

    def put(name, functions, pattern, code=BAD, call=None):
        case("function-" + name, model([call or node("F", ["x"], ["y"], "f")], opsets=opsets, functions=functions), pattern, code)
    put("cycle-direct", [function("F", [node("F", ["a"], ["b"], "f")])], "'f::F' calls itself")
    put("cycle-mutual", [function("F", [node("G", ["a"], ["b"], "f")]), function("G", [node("F", ["a"], ["b"], "f")])],
        "calls itself, directly or through others")
    branch = helper.make_graph([node("F", ["a"], ["c"], "f")], "t", [], [value("c")])
    put("cycle-in-if", [function("F", [node("Cast", ["a"], ["k"], to=9), node("If", ["k"], ["b"], then_branch=branch, else_branch=branch)])],
        "calls itself")
    put("twice", [function("F", [node("Neg", ["a"], ["b"])])] * 2, "'f::F' is defined twice")
    put("too-many-inputs", [function("F", [node("Neg", ["a"], ["b"])])], "2 inputs and 1 outputs, but the function takes 1",
        call=node("F", ["x", "w"], ["y"], "f"))
    put("parameter-twice", [function("F", [node("Neg", ["a"], ["b"])], ("a", "a"))], "parameter name 'a' is empty or used twice")
    doubling = [function("F0", [node("Neg", ["a"], ["b"])])]
    for level in range(1, 40):
        doubling.append(function(f"F{level}", [node(f"F{level - 1}", ["a"], ["m"], "f"), node(f"F{level - 1}", ["m"], ["b"], "f")]))
    put("doubling", doubling, "more than 1000000 nodes once its functions are inlined", LIMIT, node("F39", ["x"], ["y"], "f"))
    chain = [function("F0", [node("Neg", ["a"], ["b"])])]
    for level in range(1, 120):
        chain.append(function(f"F{level}", [node(f"F{level - 1}", ["a"], ["b"], "f")]))
    put("call-depth", chain, "nest deeper than 100", LIMIT, node("F119", ["x"], ["y"], "f"))
    nested = [function("F0", [node("Neg", ["a"], ["b"])])]
    for level in range(1, 40):
        branch = helper.make_graph([node(f"F{level - 1}", ["a"], ["c"], "f")], "t", [], [value("c")])
        nested.append(function(f"F{level}", [node("Cast", ["a"], ["k"], to=9),
                                            node("If", ["k"], ["b"], then_branch=branch, else_branch=branch)]))
    put("graph-depth", nested, "graphs nest deeper than 32 once functions are inlined|more than 1000000 nodes", LIMIT,
        node("F39", ["x"], ["y"], "f"))
    put("body-dangling", [function("F", [node("Neg", ["ghost"], ["b"])])], "uses tensor '.*', which nothing makes")


def attribute_cases():
    x4, w4 = {"x": (1, 2, 8, 8)}, [weight("k", np.ones((2, 2, 3, 3), np.float32))]
    case("attribute-missing", one("Concat", {"x": (2, 3), "z": (2, 3)}), "axis")
    case("attribute-type", one("Concat", {"x": (2, 3), "z": (2, 3)}, axis="1"), "axis")
    case("attribute-unknown", one("Relu", {"x": (2, 3)}, alpha=1.0), "[Uu]nrecognized attribute: alpha")

    def twice(m):
        m.graph.node[0].attribute.add().CopyFrom(m.graph.node[0].attribute[0])

    def lies(m):
        m.graph.node[0].attribute[0].type = onnx.AttributeProto.INTS

    def untyped(m):
        m.graph.node[0].attribute[0].ClearField("type")

    def unnamed(m):
        m.graph.node[0].attribute[0].name = ""

    def reference(m):
        m.graph.node[0].attribute[0].ref_attr_name = "outer"

    def hollow(m):
        m.graph.node[0].attribute.add(name="value", type=onnx.AttributeProto.TENSOR)
    softmax = [node("Softmax", ["x"], ["y"], axis=1)]
    case("attribute-twice", edited(twice, nodes=softmax), "attribute 'axis' is given twice")
    case("attribute-holds-other", edited(lies, nodes=softmax), "has type INTS, but holds INT")
    case("attribute-without-type", edited(untyped, nodes=softmax), "but holds INT|has no type")
    case("attribute-without-name", edited(unnamed, nodes=softmax), "attribute without a name")
    case("attribute-reference", edited(reference, nodes=softmax), "not inside a function")
    case("attribute-tensor-empty", edited(hollow, nodes=[node("Constant", [], ["y"])]), "has type TENSOR, but holds nothing")
    case("attribute-tensor-lies", model([helper.make_node("Constant", [], ["y"], value=tensor(raw_data=bytes(8)))]),
         "attribute 'value': raw_data has 8 bytes")
    case("stride-0", one("Conv", x4, initializers=w4, strides=[0, 0]), r"'strides' must be in \[1, ")
    case("stride-negative", one("Conv", x4, initializers=w4, strides=[-1, 1]), "'strides' must be in")
    case("stride-count", one("Conv", x4, initializers=w4, strides=[1]), "'strides' has 1 entries, wanted 2")
    case("dilation-huge", one("Conv", x4, initializers=w4, dilations=[2**31 - 1, 1]), "node 'n_y'")
    case("dilation-overflow", one("Conv", x4, initializers=w4, dilations=[2**62, 1]), "'dilations' must be in")
    case("pads-huge", one("Conv", x4, initializers=w4, pads=[2**62] * 4), "'pads' must be in")
    case("group-0", one("Conv", x4, initializers=w4, group=0), "'group' must be in")
    case("group-not-a-divisor", one("Conv", x4, initializers=w4, group=3), "group 3 does not fit")
    case("kernel-shape-lies", one("Conv", x4, initializers=w4, kernel_shape=[5, 5]), "is not the shape of the weight")
    case("auto-pad-unknown", one("Conv", x4, initializers=w4, auto_pad="SOMEHOW"), "auto_pad")
    case("pool-kernel-0", one("MaxPool", x4, kernel_shape=[0, 0]), "'kernel_shape' must be in")
    case("perm-repeats", one("Transpose", {"x": (2, 3)}, perm=[0, 0]), "not a permutation")
    case("perm-outside", one("Transpose", {"x": (2, 3)}, perm=[0, 7]), "not a permutation")
    case("perm-too-short", one("Transpose", {"x": (2, 3)}, perm=[0]), "node 'n_y'")
    case("axis-outside", one("Softmax", {"x": (2, 3)}, axis=9), "axis 9 is outside a tensor of rank 2")
    case("axis-huge", one("Softmax", {"x": (2, 3)}, axis=2**63 - 1), "'axis' must be in")
    case("blocksize-0", one("DepthToSpace", x4, blocksize=0), "'blocksize' must be in")
    case("num-groups-0", one("GroupNormalization", {"x": (1, 4, 3), "s": (4,), "b": (4,)}, num_groups=0), "'num_groups' must be in")
    case("num-outputs-0", one("Split", {"x": (2, 3)}, num_outputs=0), "'num_outputs' must be in")
    case("num-outputs-lies", one("Split", {"x": (2, 3)}, num_outputs=3), "'num_outputs' is 3, but the node has 1 outputs")
    case("cast-to-99", one("Cast", {"x": (2, 3)}, to=99), "data type 99")
    case("einsum-nonsense", one("Einsum", {"x": (2, 3)}, equation="i$j->"), "node 'n_y'")
    case("terminal-escape", one("Resize", x4, initializers=[weight("r", np.zeros(0, np.float32)), weight("k", np.ones(4, np.float32))],
                                mode="a\x1b[31m\n"), r"but is 'a\\x1b\[31m\\x0a'")


def operand_cases():
    add = ("x", "w")
    case("inputs-too-few", model([node("Add", ["x"], ["y"])]), "input size|inputs")
    case("inputs-too-many", model([node("Relu", list(add), ["y"])]), "input size|inputs")
    case("input-required-is-empty", model([node("Add", ["x", ""], ["y"])]), "input 1 .*(is missing|has an empty string)")
    case("variadic-input-is-empty", model([node("Concat", ["x", ""], ["y"], axis=0)]), "required input 1 .* is missing")
    case("outputs-too-many", model([node("Relu", ["x"], ["y", "z"])]), "output size|outputs")
    case("types-mixed", model(initializers=[weight(array=np.ones((2, 3), np.int64))]), "must be of type float as the inputs before it, but is int64")
    case("type-illegal", one("Conv", {"x": (1, 2, 8, 8), "k": (2, 2, 3, 3)}, kinds={"x": TensorProto.BOOL, "k": TensorProto.BOOL}),
         "cannot be of type bool")
    case("shapes-do-not-broadcast", model(initializers=[weight(array=np.ones((4, 3), np.float32))]), "node 'n_y'")
    case("shapes-matmul", one("MatMul", {"x": (2, 3), "z": (4, 5)}), "node 'n_y'")
    case("shapes-concat", one("Concat", {"x": (2, 3), "z": (4, 5)}, axis=0), "node 'n_y'")
    shape = lambda *v: weight("s", np.array(v, np.int64))
    case("reshape-count", one("Reshape", {"x": (2, 3)}, initializers=[shape(7)]), "2x3|6 elements")
    case("reshape-two-unknown", one("Reshape", {"x": (2, 3)}, initializers=[shape(-1, -1)]), "more than one -1")
    case("reshape-negative", one("Reshape", {"x": (2, 3)}, initializers=[shape(-7)]), "negative dimension -7")
    case("reshape-rank-300", one("Reshape", {"x": (2, 3)}, initializers=[shape(*([1] * 298 + [2, 3]))]), "rank 300 is over the limit of 32", LIMIT)
    for op, inputs in (("ConstantOfShape", {}), ("Reshape", {"x": (2, 3)}), ("Expand", {"x": (2, 3)}), ("Unsqueeze", {"x": (2, 3)})):
        case("rank-of-a-trillion-" + op.lower(), one(op, {**inputs, "s": (2**40,)}, kinds={"s": TensorProto.INT64}),
             "a result of rank 1099511627776 is over the limit of 32", LIMIT)
    case("operator-of-later-opset", one("Gelu", {}, opset=17), "not in version 17")
    case("operator-removed", one("Upsample", {"x": (1, 1, 2, 2)}, opset=13), "deprecated since version 10")
    case("opset-of-runtime", model([node("Gelu", [], ["y"], "com.microsoft")], opsets=[
        helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 2**32)]), "com.microsoft must be 1", UNSUPPORTED)
    case("expand-bomb", one("Expand", {"x": (1,)}, initializers=[shape(2**31, 2**31)]), "elements")
    case("tile-bomb", one("Tile", {"x": (2,)}, initializers=[shape(2**62)]), "node 'n_y'")
    case("tile-negative", one("Tile", {"x": (2,)}, initializers=[shape(-3)]), "node 'n_y'")
    case("constant-of-shape-bomb", one("ConstantOfShape", {}, initializers=[shape(2**31, 2**31, 2**31)]), "elements")
    case("constant-of-shape-two-values", one("ConstantOfShape", {}, initializers=[shape(2)], value=tensor((2,), raw_data=bytes(8))),
         "must have one element, but has 2")
    case("pad-overflow", one("Pad", {"x": (2,)}, initializers=[shape(2**62, 2**62)]), "node 'n_y'")
    case("resize-scale-nan", one("Resize", {"x": (1, 1, 2, 2)}, initializers=[
        weight("r", np.zeros(0, np.float32)), weight("k", np.full(4, np.nan, np.float32))]), "node 'n_y'")
    case("resize-scale-huge", one("Resize", {"x": (1, 1, 2, 2)}, initializers=[
        weight("r", np.zeros(0, np.float32)), weight("k", np.full(4, 1e30, np.float32))]), "node 'n_y'")
    case("slice-step-0", one("Slice", {"x": (2, 3)}, initializers=[
        weight(n, np.array([v], np.int64)) for n, v in (("s", 0), ("e", 1), ("a", 0), ("t", 0))]), "node 'n_y'")
    case("split-sizes", one("Split", {"x": (2, 3)}, initializers=[shape(5)]), "node 'n_y'")
    case("top-k-negative", model([node("TopK", ["x", "s"], ["y", "i"])], initializers=[shape(-1)]), "node 'n_y'")
    case("unsqueeze-axis-twice", one("Unsqueeze", {"x": (2, 3)}, initializers=[shape(0, 0)]), "node 'n_y'")
    case("range-delta-0", one("Range", {}, initializers=[weight(n, np.array(v, np.float32)) for n, v in (("b", 0), ("e", 9), ("d", 0))]),
         "node 'n_y'")
    for name, scale in (("0", 0.0), ("nan", np.nan), ("inf", np.inf), ("negative", -0.5), ("denormal", 1e-40)):
        case("quantize-scale-" + name, one("QuantizeLinear", {"x": (2, 3)}, kinds={"y": TensorProto.UINT8},
                                           initializers=[weight("s", np.array(scale, np.float32))]),
             "scale 's' must be finite and positive")
        case("dequantize-scale-" + name, one("DequantizeLinear", {"x": (2, 3)}, kinds={"x": TensorProto.INT8}, initializers=[
            weight("s", np.array(scale, np.float32))]), "scale 's' must be finite and positive")
    case("zero-point-type", one("DequantizeLinear", {"x": (2, 3)}, kinds={"x": TensorProto.INT8}, initializers=[
        weight("s", np.array(1, np.float32)), weight("z", np.array(1, np.uint8))]), "must be of type int8 as the inputs before it")
    bits = lambda n, s=(4, 2): [weight("b", np.zeros((4, 2, n), np.uint8)), weight("s", np.ones(s, np.float32))]
    ms = {"domain": "com.microsoft", "K": 32, "N": 4}
    case("matmul-nbits-short", one("MatMulNBits", {"x": (1, 32)}, initializers=bits(7), block_size=16, **ms), "do not fit N = 4, K = 32")
    case("matmul-nbits-scales", one("MatMulNBits", {"x": (1, 32)}, initializers=bits(8, (4, 3)), block_size=16, **ms), "do not fit")
    case("matmul-nbits-block-0", one("MatMulNBits", {"x": (1, 32)}, initializers=bits(8), block_size=0, **ms), "block_size a power of 2")
    case("matmul-nbits-k-huge", one("MatMulNBits", {"x": (1, 32)}, initializers=bits(8), block_size=16, domain="com.microsoft",
                                    K=2**62, N=4), "'K' must be in")
    case("matmul-nbits-nan", one("MatMulNBits", {"x": (1, 32)}, initializers=[bits(8)[0], weight("s", np.full((4, 2), np.nan, np.float32))],
                                 block_size=16, **ms), "must be finite")
    gqa = {"x": (1, 1, 64), "k": (1, 1, 32), "v": (1, 1, 32)}
    lengths = [weight("l", np.zeros(1, np.int32)), weight("t", np.zeros((), np.int32))]
    attention = model([node("GroupQueryAttention", ["x", "k", "v", "", "", "l", "t"], ["y", "pk", "pv"], "com.microsoft", num_heads=4, kv_num_heads=0)],
                      [value(n, s) for n, s in gqa.items()], None, lengths, opsets=[helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)])
    case("attention-no-heads", attention, "positive multiple of kv_num_heads")


def unsupported_cases():
    case("operator-unknown", model([node("Frobnicate", ["x"], ["y"])]), r"\(Frobnicate\): the operator is not supported", UNSUPPORTED)
    case("operator-of-acme", model([node("Foo", ["x"], ["y"], "acme")], opsets=[helper.make_opsetid("", 21), helper.make_opsetid("acme", 1)]),
         r"\(acme::Foo\): the operator is not supported", UNSUPPORTED)
    half = model(inputs=[value("x", kind=TensorProto.FLOAT16)], outputs=[value("y", kind=TensorProto.FLOAT16)],
                 initializers=[weight(array=np.ones((2, 3), np.float16))])
    case("float16", half, "tensor 'x' is of type float16", UNSUPPORTED)
    case("string-input", one("Identity", {"x": (2, 3)}, kinds={"x": TensorProto.STRING, "y": TensorProto.STRING}),
         "tensor 'x' is of type string", UNSUPPORTED)
    case("resize-crop", one("Resize", {"x": (1, 1, 2, 2)}, initializers=[
        weight("r", np.zeros(8, np.float32)), weight("k", np.ones(4, np.float32))], coordinate_transformation_mode="tf_crop_and_resize"),
         "'tf_crop_and_resize' is not supported", UNSUPPORTED)
    case("dropout-training", one("Dropout", {"x": (2, 3)}, initializers=[weight("r", np.array(0.5, np.float32)), weight("t", np.array(True))]),
         "training_mode", UNSUPPORTED)


def large_models():
    """Models too large to keep: (name, bytes, pattern, code)."""
    yield "many-nodes", with_graph(chunk(1, b"") * 1_000_001), "more than 1000000", LIMIT
    yield "many-inputs-of-a-node", with_graph(chunk(1, chunk(1, b"x") * 1_000_001)), "more than 1000000 entries", LIMIT
    yield "many-tensors", with_graph(chunk(5, b"") * 1_000_001), "more than 1000000", LIMIT
    yield "attribute-list", with_graph(chunk(1, chunk(5, chunk(8, b"\x01" * 1_000_001)))), "over the limit of 1000000", LIMIT
    yield "many-parts", with_graph(chunk(1, chunk(5, chunk(11, b"") * 900_000)) * 5), "more than 4000000 parts", LIMIT


def main():
    folder = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parent)
    for build in (wire_cases, version_cases, tensor_cases, graph_cases, function_cases, attribute_cases, operand_cases,
                  unsupported_cases):
        build()
    for old in folder.glob("*.onnx"):
        old.unlink()
    for name, (data, _, _) in CASES.items():
        (folder / f"{name}.onnx").write_bytes(data)
    (folder / "sound.onnx").write_bytes(model().SerializeToString(deterministic=True))
    (folder / "weights.bin").write_bytes(struct.pack("<6f", *range(6)))
    cases = {name: {"pattern": pattern, "exit": code} for name, (_, pattern, code) in sorted(CASES.items())}
    (folder / "cases.json").write_text(json.dumps(cases, indent=1) + "\n")


if __name__ == "__main__":
    main()
