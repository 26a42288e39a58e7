// kubernetes.mjs - objects (a JSON list on stdin) against Kubernetes' schemas: missing and mistyped fields, and fields that nobody knows.
// Says one line per fault; exit status 1 when there is any.
//
// The validators of kubernetes-models let unknown fields pass. They are generated code that reads every property a schema knows, so what
// they never ask for is unknown: they are given proxies that note what was read.
import { readFileSync } from "node:fs";

const MODELS = {
  v1: "kubernetes-models/v1",
  "apps/v1": "kubernetes-models/apps/v1",
  "autoscaling/v2": "kubernetes-models/autoscaling/v2",
  "batch/v1": "kubernetes-models/batch/v1",
  "networking.k8s.io/v1": "kubernetes-models/networking.k8s.io/v1",
  "policy/v1": "kubernetes-models/policy/v1",
  "keda.sh/v1alpha1": "@kubernetes-models/keda/keda.sh/v1alpha1",
  "monitoring.coreos.com/v1": "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1",
};

/** A view of value that notes which properties are read: notes is {read: Set, children: Map}. */
function watched(value, notes) {
  if (value === null || typeof value !== "object") return value;
  return new Proxy(value, {
    get(target, key) {
      notes.read.add(key);
      const inner = target[key];
      if (inner === null || typeof inner !== "object") return inner;
      if (!notes.children.has(key)) {
        const childNotes = { read: new Set(), children: new Map() };
        notes.children.set(key, { proxy: watched(inner, childNotes), notes: childNotes });
      }
      return notes.children.get(key).proxy;
    },
    ownKeys(target) { // a map of the user's own names: labels, data
      notes.all = true;
      return Reflect.ownKeys(target);
    },
  });
}

function unknown(value, notes, path, found) {
  for (const key of Object.keys(value)) {
    const here = `${path}.${key}`;
    const child = notes.children.get(key);
    if (!notes.all && !notes.read.has(key)) found.push(here);
    else if (child) unknown(value[key], child.notes, here, found);
  }
  return found;
}

let faults = 0;
const say = (object, text) => {
  faults++;
  console.log(`${object.kind} ${object.metadata?.name}: ${text}`);
};
for (const object of JSON.parse(readFileSync(0, "utf8"))) {
  const model = MODELS[object.apiVersion] && (await import(MODELS[object.apiVersion]))[object.kind];
  if (!model) {
    say(object, `no schema for ${object.apiVersion}`);
    continue;
  }
  const notes = { read: new Set(), children: new Map() };
  const view = watched(object, notes);
  try {
    model.prototype.validate.call(view);
  } catch (error) {
    say(object, error.message);
    continue;
  }
  for (const path of unknown(object, notes, "", [])) say(object, `${path}: no such field`);
}
process.exit(faults ? 1 : 0);
