"""Checks the manifests in this folder, and the secrets that secrets.sh prints, without a cluster:
against the published types of Kubernetes and KEDA, the pod security standard "restricted", and each
other. tests/tests/deploy.rs compares them with the programs. `make check` runs this file, with the
Python that `infra/local/setup.sh --dev` installs."""

import base64
import importlib
import json
import re
import subprocess
import tomllib
from copy import deepcopy
from pathlib import Path

import yaml

HERE = Path(__file__).parent
NAME = "app.kubernetes.io/name"


def validate(manifest):
    """Fails if the type lacks a field of the manifest, or the manifest one that it must have."""
    group, _, version = manifest["apiVersion"].rpartition("/")
    if group == "rabbitmq.com":
        # No package has the type of a RabbitmqCluster. Its larger parts are parts of a pod.
        spec = manifest["spec"]
        pod = deepcopy(spec["override"]["statefulSet"]["spec"]["template"]["spec"])
        pod["affinity"] = spec["affinity"]
        pod["containers"][0]["resources"] = spec["resources"]
        return validate({"apiVersion": "v1", "kind": "Pod", "spec": pod})
    package = "keda" if group == "keda.sh" else f"kubernetes.{group.split('.')[0] or 'core'}"
    module = importlib.import_module(f"cloudcoil.models.{package}.{version}")
    read = getattr(module, manifest["kind"]).model_validate(manifest)
    # Types drop the fields that they do not know, and convert values.
    known = read.model_dump(mode="json", by_alias=True, exclude_unset=True)
    if known != manifest:
        raise ValueError(f"unknown field or wrong type; of\n{manifest}\nwas read\n{known}")


def refuses(manifest, change):
    """Whether the manifest is invalid after the change."""
    broken = deepcopy(manifest)
    change(broken["spec"])
    try:
        validate(broken)
    except ValueError:
        return True
    return False


def includes(value, wanted):
    """Whether the fields of `wanted` are in `value` with the same values."""
    if not isinstance(wanted, dict):
        return value == wanted
    return all(name in value and includes(value[name], wanted[name]) for name in wanted)


def load(text):
    return list(yaml.safe_load_all(text))


def secrets():
    return subprocess.run([HERE / "secrets.sh"], check=True, stdout=subprocess.PIPE).stdout


kustomization = load((HERE / "kustomization.yaml").read_text())[0]
files = kustomization["resources"] + ["producer/job.yaml", "producer/desk.yaml"]
present = {str(path.relative_to(HERE)) for path in HERE.rglob("*.yaml")} - {"kustomization.yaml"}
assert set(files) == present, f"not used or not present: {set(files) ^ present}"
manifests = [manifest for file in files for manifest in load((HERE / file).read_text())]
made = load(secrets())
for manifest in manifests + made:
    validate(manifest)
of = {(m["kind"], m["metadata"].get("name")): m for m in manifests}
assert len(of) == len(manifests), "two manifests have the same name"

consumer = of["Deployment", "primepool-consumer"]
scaled = of["ScaledObject", "primepool-consumer"]
broker = of["RabbitmqCluster", "primepool-broker"]

# `validate` finds what it is there for.
assert refuses(consumer, lambda spec: spec.update(replica=3))
assert refuses(consumer, lambda spec: spec["template"]["spec"]["securityContext"].update(runAs=1))
assert refuses(consumer, lambda spec: spec["template"]["spec"].update(hostNetwork="perhaps"))
assert refuses(consumer, lambda spec: spec.pop("selector"))
assert refuses(scaled, lambda spec: spec.update(coolDownPeriod=300))
assert refuses(scaled, lambda spec: spec.pop("scaleTargetRef"))
assert refuses(broker, lambda spec: spec["affinity"].update(podAntiAfinity={}))

# Pods conform to the standard that the namespace enforces, as the user of the image, and have the
# image of this version. The files that their variables name are on volumes.
labels = of["Namespace", "primepool"]["metadata"]["labels"]
assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
dockerfile = (HERE / "../Dockerfile").read_text()
user, group = map(int, re.search(r"^USER (\d+):(\d+)$", dockerfile, re.M).groups())
version = tomllib.loads((HERE / "../../Cargo.toml").read_text())["workspace"]["package"]["version"]
images = [(image["name"], image["newTag"]) for image in kustomization["images"]]
assert images == [("primepool", version)], images
config_maps = [each["name"] for each in kustomization["configMapGenerator"]]
pods = [m if m["kind"] == "Pod" else m["spec"].get("template") for m in manifests
        if m["kind"] in ("Pod", "Deployment", "Job")]
assert len(pods) == 3
for pod in pods:
    assert includes(pod["spec"], {
        "automountServiceAccountToken": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": user,
            "runAsGroup": group,
            "fsGroup": group,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    }), pod
    for container in pod["spec"]["containers"]:
        assert includes(container["securityContext"], {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }), container
        resources = container["resources"]
        assert all(resources[each].keys() == {"cpu", "memory"} for each in ("requests", "limits"))
        assert container["image"] in ("primepool", f"primepool:{version}")
        maps = [source["configMapRef"]["name"] for source in container.get("envFrom", [])]
        assert maps in ([], config_maps), maps
        mounts = tuple(mount["mountPath"] for mount in container["volumeMounts"])
        values = [variable.get("value", "") for variable in container["env"]]
        assert all(value.startswith(mounts) for value in values if value.startswith("/")), values
resources = consumer["spec"]["template"]["spec"]["containers"][0]["resources"]
assert resources["requests"] == resources["limits"] and int(resources["limits"]["cpu"]) > 0

# The scaler's triggers may ask the broker. AMQP counts ready units only: a consumer would be
# stopped while it works on the last ones.
for trigger in scaled["spec"]["triggers"]:
    authentication = trigger["authenticationRef"]["name"]
    assert ("TriggerAuthentication", authentication) in of, trigger
    assert includes(trigger, {"type": "rabbitmq", "metadata": {"protocol": "http"}}), trigger
    assert float(trigger["metadata"]["value"]) >= 1, trigger

# Selectors select the pods that exist. The operator labels the broker's pods with the name of the
# resource.
template = consumer["spec"]["template"]
labels = template["metadata"]["labels"]
for selector in (
    consumer["spec"]["selector"],
    template["spec"]["topologySpreadConstraints"][0]["labelSelector"],
    of["PodDisruptionBudget", "primepool-consumer"]["spec"]["selector"],
):
    assert selector["matchLabels"] and includes(labels, selector["matchLabels"])
assert scaled["spec"]["scaleTargetRef"]["name"] == consumer["metadata"]["name"]
assert "replicas" not in consumer["spec"], "the scaler sets the number of replicas"
host = broker["metadata"]["name"]
rule = of["NetworkPolicy", "primepool-consumer"]["spec"]
policy = of["NetworkPolicy", "primepool-broker"]["spec"]
anti_affinity = broker["spec"]["affinity"]["podAntiAffinity"]
for selector in (
    of["PodDisruptionBudget", "primepool-broker"]["spec"]["selector"],
    anti_affinity["requiredDuringSchedulingIgnoredDuringExecution"][0]["labelSelector"],
    policy["podSelector"],
    rule["egress"][0]["to"][0]["podSelector"],
):
    assert selector["matchLabels"] == {NAME: host}
# Each pod may connect to the broker, and the broker accepts connections from each.
assert rule["podSelector"] == policy["ingress"][0]["from"][0]["podSelector"]
expression = rule["podSelector"]["matchExpressions"][0]
assert all(pod["metadata"]["labels"][expression["key"]] in expression["values"] for pod in pods)

# Secrets are those that the manifests name, with the broker's address.
data = {
    secret["metadata"]["name"]: {
        key: base64.b64decode(value).decode() for key, value in secret["data"].items()
    }
    for secret in made
}
vhost = scaled["spec"]["triggers"][0]["metadata"]["vhostName"]
for name in ("consumer", "producer", "operator"):
    url = data[f"primepool-{name}"]["amqp-url"]
    assert re.fullmatch(f"amqp://{name}:.+@{host}:5672/{vhost}", url)
target = of["TriggerAuthentication", "primepool-broker"]["spec"]["secretTargetRef"][0]
namespace = kustomization["namespace"]
assert data[target["name"]][target["key"]].endswith(f"@{host}.{namespace}.svc:15672/")
for volume in (volume for pod in pods for volume in pod["spec"]["volumes"] if "secret" in volume):
    assert volume["secret"]["secretName"] in data, volume
override = broker["spec"]["override"]["statefulSet"]["spec"]["template"]["spec"]
definitions = json.loads(data[override["volumes"][0]["secret"]["secretName"]]["definitions.json"])
assert definitions["vhosts"] == [{"name": vhost}]
assert definitions["users"] and all(user["password_hash"] for user in definitions["users"])
assert secrets() != secrets(), "passwords are made anew each time"

# The broker loads the definitions from their volume, and has the settings of every pool's broker.
config = broker["spec"]["rabbitmq"]["additionalConfig"].splitlines()
mount = override["containers"][0]["volumeMounts"][0]["mountPath"]
shared = (HERE / "../rabbitmq/primepool.conf").read_text().splitlines()
wanted = {line for line in shared if " = " in line and not line.startswith("#")}
wanted.add(f"load_definitions = {mount}/definitions.json")
assert wanted <= set(config), f"additionalConfig lacks: {wanted - set(config)}"
