"""Ask the tumour service over the Open Inference Protocol, with nothing but Python's own library."""

import csv
import json
import os
import urllib.request

url = os.environ["FREEHOLD_GATEWAY"] + "/v2/models/tumour-check"
key = {"authorization": "Bearer " + os.environ["FREEHOLD_SERVING_KEY_SCREENING"]}


def call(path: str, body: dict[str, object] | None = None) -> tuple[dict[str, object], dict[str, str]]:
    """One request: its JSON and its headers."""
    data = json.dumps(body).encode() if body else None
    headers = {**key, "content-type": "application/json", "x-freehold-purpose": "diagnosis-support"}
    with urllib.request.urlopen(urllib.request.Request(url + path, data, headers)) as response:
        return json.load(response), {name.lower(): value for name, value in response.headers.items()}


with open(os.path.join(os.environ["FREEHOLD_DEMO"], "tumours.csv"), encoding="utf-8") as file:
    row = next(csv.DictReader(file))

model, _ = call("")
tensors = [
    {"name": column["name"], "shape": [1], "datatype": "FP64", "data": [float(row[column["name"]])]}
    for column in model["inputs"]  # type: ignore[attr-defined]  # JSON
]
told, headers = call("/infer", {"inputs": tensors})
outputs = {output["name"]: output["data"] for output in told["outputs"]}  # type: ignore[attr-defined]  # JSON

print("finding:", outputs["class"][0], f"{outputs['confidence'][0]:.3f}", "· the table says", row["finding"])
print("record: ", headers["x-freehold-answer"], "· marked", headers["x-freehold-tier"])
