"""Writes, for every function of the public headers and every pointer among its arguments, a call with NULL
in that place and right arguments in all others. tests/test_null_arguments.c makes the calls.

    null_calls.py HEADER-FOLDER OUTPUT

A new function needs nothing here unless one of its pointers may be NULL, or zeroed memory is no right argument
for a type that no other function has."""

import os
import re
import sys

# What stands for a right argument: fields of `f`, the test's fixture, by type; or by name, first.
BY_NAME = {
    ("const char *", "path"): "f.path", ("const char *", "folder"): "f.path",
    ("const char *", "spec"): "DATA", ("const char *", "split"): '"val"',
    ("const char *", "text"): "SHAPE", ("const char *", "wnid"): '"n01440764"',
    ("const char *", "name"): '"native"', ("const char *", "title"): '"t"',
    ("const char *", "precision"): '"f32"', ("const char *", "format"): '"text"',
    ("dvit_pruning_parse", "name"): '"learned"',
    ("const float *", "pixels"): "f.pixels", ("const float *", "logits"): "f.logits",
    ("const float *", "values"): "f.logits", ("float *", "logits"): "f.logits",
    ("float *", "probabilities"): "f.logits", ("float *", "out"): "f.floats",
    ("int", "classes"): "CLASSES", ("int", "k"): "1", ("int", "width"): "32", ("int", "height"): "32",
    ("int", "image"): "0", ("int", "stage"): "0", ("int", "orientation"): "3", ("int", "stages"): "1",
    ("dvit_model_set_labels", "count"): "CLASSES", ("double", "seconds"): "0.001",
    ("size_t", "length"): "4",     ("double", "keep"): "0.7", ("size_t", "size"): "sizeof f.bytes",
    ("dvit_config_check_keep", "keep"): "1", ("dvit_layers_create", "keep"): "1",
    ("dvit_model_cost", "keep"): "1", ("dvit_image_load", "path"): '"no-such-file"',
    ("dvit_model_load", "path"): '"no-such-file"', ("dvit_weight_file_open", "path"): '"no-such-file"',
    ("dvit_train", "train"): "f.train", ("dvit_train_find_rate", "train"): "f.train",
    ("dvit_model_calibrate", "model"): "f.other", ("dvit_train", "model"): "f.other",
}
BY_TYPE = {
    "struct dvit_class_counts *": "f.class_counts",
    "struct dvit_error *": "&error", "void *": "NULL", "int": "1", "size_t": "0", "uint64_t": "0",
    "long": "1", "double": "1", "enum dvit_status": "DVIT_OK", "enum dvit_pruning": "DVIT_PRUNING_LEARNED",
    "enum dvit_filter": "DVIT_FILTER_BICUBIC", "struct dvit_box": "((struct dvit_box){0, 0, 8, 8})",
    "const void *": "f.bytes", "bool *": "&f.flag", "double *": "&f.number", "size_t *": "&f.size",
    "enum dvit_pruning *": "&f.pruning", "struct dvit_confusion **": "&f.made_confusion",
    "int *": "f.ints", "const int *": "f.ints", "char **": "&f.made_text",
    "unsigned char **": "&f.made_bytes", "const char *const *": "f.texts",
    "const volatile int *": "&f.stop", "dvit_train_callback *": "ignore_event",
    "void (*)(void *context, size_t done, size_t total)": "ignore_progress",
    "struct dvit_session *const *": "f.sessions", "const struct dvit_batch **": "&f.batch",
}
# Owned by the fixture and looked at; made by the call and freed afterwards; plain values.
OBJECTS = ["model", "session", "dataset", "loader", "table", "layers", "weight_file"]
MADE = OBJECTS
VALUES = ["config", "preprocess", "image", "overlay", "plot", "report", "evaluation", "evaluated",
          "prediction", "sample", "skip", "comparison", "cost", "class_counts", "step_speed", "rate_curve",
          "table_column", "dataset_options", "loader_options", "evaluate_options", "calibrate_options",
          "compare_options", "session_options", "train_options", "load_options", "save_options",
          "decode_options", "decode_info", "overlay_options"]
# Pointers that may be NULL. `error` and `context` always may.
OPTIONAL = {
    "options": ["dvit_dataset_open", "dvit_dataset_open_files", "dvit_dataset_open_for",
                "dvit_image_decode", "dvit_image_load", "dvit_model_calibrate", "dvit_model_load", "dvit_model_load_key",
                "dvit_model_open", "dvit_model_save", "dvit_report_gallery", "dvit_report_photo",
                "dvit_report_overlay",
                "dvit_session_create"],
    "info": ["dvit_image_decode", "dvit_image_load"],
    "progress": ["dvit_evaluate", "dvit_model_calibrate", "dvit_compare_sessions"],
    "callback": ["dvit_train"], "stop": ["dvit_train", "dvit_train_find_rate"],
    "teacher": ["dvit_train", "dvit_train_find_rate", "dvit_train_measure"], "validation": ["dvit_train"],
    "is_random": ["dvit_model_open"], "key": ["dvit_model_load_key"], "title": ["dvit_table_create"],
    "precision": ["dvit_matmul_rate"], "stage_block": ["dvit_model_sparsify"],
}


def functions(folder):
    """(name, result, [(type, name)]) of each public function."""
    found = []
    for header in sorted(os.listdir(folder)):
        with open(os.path.join(folder, header), encoding="utf-8") as stream:
            text = re.sub(r"/\*.*?\*/", " ", stream.read(), flags=re.S)
        text = re.sub(r"^[ \t]*#.*(?:\\\n.*)*$", "", text, flags=re.M)
        for match in re.finditer(r"DVIT_API\s+([^;{}=]*?)\b(dvit_\w+)\s*\(((?:[^()]|\([^()]*\))*)\)", text):
            result, name, inner = (" ".join(part.split()) for part in match.groups())
            found.append((name, result, [argument(part) for part in
                                         re.split(r",(?![^()]*\))", inner) if part.strip() != "void"]))
    return found


def argument(text):
    """"const char *path" as its type and its name."""
    text = " ".join(text.split())
    if text == "...":
        return "...", "..."
    pointer = re.fullmatch(r"(.*\(\*)(\w+)(\).*)", text)
    if pointer:
        return pointer.group(1) + pointer.group(3), pointer.group(2)
    kind, name = re.fullmatch(r"(.*?)(\w+)", text).groups()
    return kind.strip(), name


def value(function, kind, name):
    """A right argument as C."""
    if (function, name) in BY_NAME:
        return BY_NAME[function, name]
    if (kind, name) in BY_NAME:
        return BY_NAME[kind, name]
    if kind in BY_TYPE:
        return BY_TYPE[kind]
    match = re.fullmatch(r"(?:const )?struct dvit_(\w+) (\*\*?)", kind)
    if match and match.group(2) == "**" and match.group(1) in MADE + ["confusion"]:
        return "&f.made_" + match.group(1)
    if match and match.group(2) == "*" and match.group(1) in OBJECTS:
        return "f." + match.group(1)
    if match and match.group(2) == "*" and match.group(1) in VALUES:
        return ("&f.made_" if name == "out" and match.group(1) == "image" else "&f.") + match.group(1)
    return "(void *)&f.anything" if is_pointer(kind) else "(%s){0}" % kind


def is_pointer(kind):
    return "*" in kind


def is_optional(function, kind, name):
    return name in ("error", "context") or function in OPTIONAL.get(name, [])


def main(folder, output):
    lines, rows = [], []
    for name, result, arguments in functions(folder):
        for place, (kind, argument_name) in enumerate(arguments):
            if not is_pointer(kind):
                continue
            shown = [("NULL" if i == place else value(name, type_, n))
                     for i, (type_, n) in enumerate(arguments) if type_ != "..."]
            if name.endswith("_free") and result == "void":
                shown = ["NULL"]
            status = result == "enum dvit_status"
            required = status and not is_optional(name, kind, argument_name)
            call = "%s(%s)" % (name, ", ".join(shown))
            body = ("return %s;" if status else "(void)%s;\n    return DVIT_ERROR_ARGUMENT;") % call
            if result == "void":
                body = body.replace("(void)", "")
            lines.append("static enum dvit_status call_%d(void)\n{\n    %s\n}\n" % (len(rows), body))
            rows.append('    {"%s", "%s", %s, %s, call_%d},' % (
                name, argument_name, "true" if required else "false",
                "true" if status and argument_name != "error" else "false", len(rows)))
    with open(output, "w", encoding="utf-8") as stream:
        stream.write("/* Made by tests/null_calls.py. */\n" + "\n".join(lines))
        stream.write("\nstatic const struct null_call null_calls[] = {\n%s\n};\n" % "\n".join(rows))


main(*sys.argv[1:])
