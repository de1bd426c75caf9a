// SPDX-License-Identifier: MIT
//
// check.mjs FILE... - what an API server would say of rendered manifests, and
// what it would not
//
// Strict: no field that the models of the API do not have, each of its type;
// values by the schemas of the API (required, enums, quantities). Semantic:
// names resolve within the file, selectors select, probes, limits and the
// rights of each container are what this project promises. A line for each
// fault, "Kind/name: where: what"; exit status 1 if there are any.

import fs from 'node:fs';
import { createRequire } from 'node:module';

// Called where the modules are installed. Of the client the models alone are
// read: all of it needs a newer node.
const modules = process.cwd() + '/node_modules';
const yaml = createRequire(process.cwd() + '/')('js-yaml');
const client = await import(
    modules + '/@kubernetes/client-node/dist/gen/models/all.js');

const capabilities = ['CHOWN', 'DAC_OVERRIDE', 'FOWNER', 'KILL',
    'NET_BIND_SERVICE', 'SETGID', 'SETUID'];
// Relays that there are at the least: one serves while the other drains.
const floor = 2;
const faults = [];
let current = '';

function fault(where, what) {
    faults.push(`${current}: ${where}: ${what}`);
}

// -- strict ------------------------------------------------------------------

// Kinds whose fields no package here has, with those that we use.
const others = {
    'monitoring.googleapis.com/v1/PodMonitoring': {
        selector: { matchLabels: {} },
        endpoints: [{ port: '', path: '', interval: '' }],
    },
};

const primitives = { string: 'string', number: 'number', boolean: 'boolean' };

function isMap(value) {
    return value !== null && typeof value === 'object'
        && !Array.isArray(value);
}

function checkType(value, type, where) {
    let match;
    if ((match = /^Array<(.*)>$/.exec(type))) {
        if (!Array.isArray(value))
            return fault(where, 'must be a list');
        return value.forEach(
            (v, i) => checkType(v, match[1], `${where}[${i}]`));
    }
    if ((match = /^{ \[key: string\]: (.*); }$/.exec(type))) {
        if (!isMap(value))
            return fault(where, 'must be a map');
        return Object.entries(value).forEach(
            ([k, v]) => checkType(v, match[1], `${where}.${k}`));
    }
    if (type === 'IntOrString') {
        if (!['number', 'string'].includes(typeof value))
            fault(where, 'must be a number or a string');
        return;
    }
    if (type === 'any' || type === 'Date')
        return;
    if (primitives[type]) {
        if (typeof value !== primitives[type])
            fault(where, `must be a ${type}`);
        return;
    }
    checkModel(value, type, where);
}

function checkModel(value, type, where) {
    const model = client[type];
    if (!model)
        return fault(where, `no model ${type}`);
    if (!isMap(value))
        return fault(where, `must be a ${type}`);
    const fields = new Map(model.getAttributeTypeMap()
        .map((f) => [f.baseName, f.type]));
    for (const [key, v] of Object.entries(value)) {
        if (!fields.has(key))
            fault(`${where}.${key}`, 'no such field');
        else
            checkType(v, fields.get(key), `${where}.${key}`);
    }
}

function checkShape(value, shape, where) {
    if (Array.isArray(shape)) {
        if (!Array.isArray(value))
            return fault(where, 'must be a list');
        return value.forEach(
            (v, i) => checkShape(v, shape[0], `${where}[${i}]`));
    }
    if (typeof shape === 'string') {
        if (typeof value !== 'string')
            fault(where, 'must be a string');
        return;
    }
    for (const [key, v] of Object.entries(value || {}))
        if (Object.keys(shape).length && !(key in shape))
            fault(`${where}.${key}`, 'no such field');
        else
            checkShape(v, shape[key] ?? '', `${where}.${key}`);
}

async function schemaOf(object) {
    for (const name of ['kubernetes-models',
        '@kubernetes-models/cert-manager'])
        for (const ext of ['mjs', 'js']) {
            const path = `${modules}/${name}/${object.apiVersion}/`
                + `${object.kind}.${ext}`;
            if (fs.existsSync(path))
                return (await import(path))[object.kind];
        }
    return undefined;
}

async function checkStrict(object) {
    const id = `${object.apiVersion}/${object.kind}`;
    const version = object.apiVersion.split('/').pop();
    const core = object.apiVersion.includes('.')
        && !object.apiVersion.includes('.k8s.io') ? undefined
        : `${version[0].toUpperCase()}${version.slice(1)}${object.kind}`;
    if (others[id])
        return checkShape(object.spec, others[id], 'spec');
    const schema = await schemaOf(object);
    if (!schema || (core && !client[core]))
        return fault('apiVersion',
            `no ${object.kind} in ${object.apiVersion}`);
    if (core)
        checkModel(object, core, 'object');
    try {
        new schema(object).validate();
    } catch (error) {
        fault('schema', error.message.replace(/\s+/g, ' '));
    }
    return undefined;
}

// -- semantic ----------------------------------------------------------------

const label = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;

function podOf(object) {
    return (object.spec?.jobTemplate?.spec ?? object.spec)?.template;
}

function matches(selector, labels) {
    for (const [k, v] of Object.entries(selector?.matchLabels ?? {}))
        if (labels?.[k] !== v)
            return false;
    for (const e of selector?.matchExpressions ?? [])
        if (e.operator !== 'In' || !e.values.includes(labels?.[e.key]))
            return false;
    return true;
}

const units = { m: 1e-3, '': 1, Ki: 2 ** 10, Mi: 2 ** 20, Gi: 2 ** 30 };

function amount(text) {
    const match = /^(\d+)(m|Ki|Mi|Gi|)$/.exec(String(text));
    return match ? Number(match[1]) * units[match[2]] : NaN;
}

function allContainers(spec) {
    return [...(spec.initContainers ?? []), ...(spec.containers ?? [])];
}

function checkRights(container, spec, where) {
    const s = { ...spec.securityContext, ...container.securityContext };
    const added = [...(s.capabilities?.add ?? [])].sort();
    if (!(s.capabilities?.drop ?? []).includes('ALL'))
        fault(where, 'capabilities are not dropped');
    if (s.allowPrivilegeEscalation !== false)
        fault(where, 'may gain privileges');
    if (s.readOnlyRootFilesystem !== true)
        fault(where, 'its root can be written');
    if (s.privileged || spec.hostNetwork || spec.hostPID || spec.hostIPC)
        fault(where, 'is privileged');
    if (s.seccompProfile?.type !== 'RuntimeDefault')
        fault(where, 'has no seccomp profile');
    if (container.name === 'postfix') {
        if (added.join() !== capabilities.join())
            fault(where, `capabilities are ${added}, not the seven`);
    } else if (s.runAsNonRoot !== true || !s.runAsUser || added.length) {
        fault(where, 'is not restricted');
    }
}

function checkContainer(container, spec, long) {
    const where = `container ${container.name}`;
    const limits = container.resources?.limits ?? {};
    const requests = container.resources?.requests ?? {};
    checkRights(container, spec, where);
    if (!/:[^/]+$|@sha256:/.test(container.image)
        || /:latest$/.test(container.image))
        fault(where, `image ${container.image} has no fixed version`);
    if (!limits.memory || !requests.memory || !requests.cpu)
        fault(where, 'resources are not set');
    for (const [k, v] of Object.entries(limits))
        if (!(amount(requests[k] ?? 0) <= amount(v)))
            fault(where, `requests more ${k} than its limit`);
    for (const port of container.ports ?? [])
        if (!label.test(port.name) || port.name.length > 15)
            fault(where, `port name ${port.name}`);
    for (const kind of ['startupProbe', 'livenessProbe', 'readinessProbe']) {
        const probe = container[kind];
        const port = probe?.httpGet?.port ?? probe?.tcpSocket?.port;
        if (typeof port === 'string'
            && !(container.ports ?? []).some((p) => p.name === port))
            fault(where, `${kind}: no port ${port}`);
        if (long && container.ports && !probe
            && !(kind === 'readinessProbe'
                && container.name === 'cloud-sql-proxy'))
            fault(where, `has no ${kind}`);
    }
    if (/readyz/.test(JSON.stringify(container.livenessProbe ?? '')))
        fault(where, 'its liveness asks the database');
}

function checkMounts(object, spec) {
    const volumes = new Set([...(spec.volumes ?? []).map((v) => v.name),
        ...(object.spec.volumeClaimTemplates ?? [])
            .map((c) => c.metadata.name)]);
    const used = new Set();
    for (const container of allContainers(spec)) {
        const paths = new Set();
        for (const mount of container.volumeMounts ?? []) {
            used.add(mount.name);
            if (!volumes.has(mount.name))
                fault(`container ${container.name}`,
                    `no volume ${mount.name}`);
            if (paths.has(mount.mountPath))
                fault(`container ${container.name}`,
                    `${mount.mountPath} is mounted twice`);
            paths.add(mount.mountPath);
        }
    }
    for (const name of volumes)
        if (!used.has(name))
            fault('volumes', `${name} is not mounted`);
}

function checkReferences(spec, has) {
    const need = (kind, name) => {
        if (name && !has(kind, name))
            fault('references', `there is no ${kind} ${name}`);
    };
    for (const volume of spec.volumes ?? []) {
        need('Secret', volume.secret?.secretName);
        need('ConfigMap', volume.configMap?.name);
    }
    need('ServiceAccount', spec.serviceAccountName);
    for (const container of allContainers(spec)) {
        for (const from of container.envFrom ?? []) {
            need('ConfigMap', from.configMapRef?.name);
            need('Secret', from.secretRef?.name);
        }
        for (const item of container.env ?? []) {
            need('ConfigMap', item.valueFrom?.configMapKeyRef?.name);
            need('Secret', item.valueFrom?.secretKeyRef?.name);
            if (/PASSWORD|SECRET|URL/.test(item.name)
                && !item.name.endsWith('_FILE'))
                fault(`container ${container.name}`,
                    `${item.name}: a secret in the environment`);
        }
    }
}

function checkPostfix(object, container) {
    const queue = container.volumeMounts
        .find((m) => m.mountPath === '/var/spool/postfix');
    if (!container.lifecycle?.preStop)
        fault('container postfix', 'does not drain');
    if (!(object.spec.volumeClaimTemplates ?? [])
        .some((c) => c.metadata.name === queue?.name))
        fault('container postfix', 'its queue is on no volume of its own');
}

function checkWorkload(object, has) {
    const pod = podOf(object);
    const { spec } = pod;
    const grace = spec.terminationGracePeriodSeconds ?? 30;
    const selector = object.spec.selector;
    if (selector && !matches(selector, pod.metadata.labels))
        fault('selector', "does not match its own pods' labels");
    if (spec.automountServiceAccountToken !== false)
        fault('spec', 'pods get a token that they do not need');
    for (const container of spec.initContainers ?? [])
        if (container.restartPolicy !== 'Always')
            fault(`container ${container.name}`, 'is not a sidecar');
    for (const container of allContainers(spec)) {
        checkContainer(container, spec, !/Job$/.test(object.kind));
        const drain = (container.env ?? [])
            .find((e) => e.name === 'DRAIN_SECONDS');
        if (container.lifecycle?.preStop
            && !(Number(drain?.value) + 10 <= grace))
            fault(`container ${container.name}`,
                `its drain does not end within ${grace} s`);
        if (container.name === 'postfix')
            checkPostfix(object, container);
    }
    for (const spread of spec.topologySpreadConstraints ?? [])
        if (!matches(spread.labelSelector, pod.metadata.labels))
            fault('topologySpreadConstraints', 'spread other pods');
    const proxy = (spec.initContainers ?? [])
        .findIndex((c) => c.name === 'cloud-sql-proxy');
    if (proxy > 0)
        fault('container cloud-sql-proxy', 'must be the first');
    checkMounts(object, spec);
    checkReferences(spec, has);
    if (object.kind === 'StatefulSet'
        && !has('Service', object.spec.serviceName))
        fault('serviceName', `there is no Service ${object.spec.serviceName}`);
}

function portsOf(pods) {
    return new Set(pods.flatMap((p) => allContainers(p.spec))
        .flatMap((c) => c.ports ?? [])
        .flatMap((p) => [p.name, p.containerPort]));
}

function checkSelecting(object, pods) {
    const { spec } = object;
    const selector = object.kind === 'Service' ? { matchLabels: spec.selector }
        : spec.podSelector ?? spec.selector;
    const chosen = pods.filter((p) => matches(selector, p.metadata.labels));
    if (!chosen.length)
        return fault('selector', 'selects nothing');
    const ports = portsOf(chosen);
    const named = {
        Service: () => spec.ports.map((p) => p.targetPort),
        PodMonitoring: () => spec.endpoints.map((e) => e.port),
    }[object.kind] ?? (() => (spec.ingress ?? [])
        .flatMap((i) => i.ports ?? []).map((p) => p.port));
    for (const port of named())
        if (!ports.has(port))
            fault('ports', `no pod has the port ${port}`);
    return undefined;
}

function checkNetwork(object) {
    for (const rule of object.spec.ingress ?? [])
        if (!rule.from?.length)
            fault('ingress', 'is from anywhere');
    for (const rule of [...(object.spec.ingress ?? []),
        ...(object.spec.egress ?? [])])
        if (!rule.ports?.length)
            fault('ports', 'are all of them');
}

function checkSettings(object) {
    for (const [k, v] of Object.entries(object.data ?? {}))
        if (/PASSWORD$/.test(k) || /:\/\/[^/?]*:[^/?]*@|password=/.test(v))
            fault(`data.${k}`, 'a secret that is not in a Secret');
}

function checkScaling(object, workloads) {
    const target = object.spec.scaleTargetRef;
    const found = workloads.find((w) => w.kind === target.kind
        && w.metadata.name === target.name);
    if (!found)
        fault('scaleTargetRef', 'there is no such workload');
    else if (found.spec.replicas !== undefined)
        fault('scaleTargetRef', 'each apply would scale it, too');
    if (!(object.spec.minReplicas >= floor))
        fault('minReplicas', 'is below the floor');
    if (object.spec.behavior?.scaleDown?.selectPolicy !== 'Disabled')
        fault('behavior', 'scales in, with mail in the queue');
}

// What two workloads select is counted twice, and "kubectl exec" finds either.
function checkOwners(workloads) {
    for (const one of workloads)
        for (const other of workloads)
            if (one !== other && one.spec.selector
                && matches(one.spec.selector, podOf(other).metadata.labels))
                fault(one.kind, `selects pods of ${other.metadata.name}`);
}

// Secrets that README tells to make, and what cert-manager makes.
const given = ['database-owner', 'database-policyd', 'database-mailadmin',
    'relay', 'relay-tls'];

async function checkFile(path) {
    const objects = yaml.loadAll(fs.readFileSync(path, 'utf8'));
    const workloads = objects.filter(podOf);
    const pods = workloads.map(podOf);
    const has = (kind, name) => objects.some(
        (o) => o.kind === kind && o.metadata.name === name)
        || (kind === 'Secret' && given.includes(name));
    const seen = new Set();
    for (const object of objects) {
        current = `${path.split('/').pop()}: ${object.kind}/`
            + `${object.metadata?.name}`;
        if (seen.has(current))
            fault('metadata', 'is there twice');
        seen.add(current);
        await checkStrict(object);
        if (!label.test(object.metadata.name))
            fault('metadata.name', `${object.metadata.name} is no DNS label`);
        if (object.kind !== 'Namespace' && !object.metadata.namespace)
            fault('metadata', 'has no namespace');
        if (podOf(object))
            checkWorkload(object, has);
        if (['Service', 'NetworkPolicy', 'PodDisruptionBudget',
            'PodMonitoring'].includes(object.kind))
            checkSelecting(object, pods);
        if (object.kind === 'NetworkPolicy')
            checkNetwork(object);
        if (object.kind === 'ConfigMap')
            checkSettings(object);
        if (object.kind === 'HorizontalPodAutoscaler')
            checkScaling(object, workloads);
        if (object.kind === 'Namespace' && object.metadata.labels?.[
            'pod-security.kubernetes.io/enforce'] !== 'baseline')
            fault('labels', 'pod security is not enforced');
    }
    current = path.split('/').pop();
    checkOwners(workloads);
    if (!objects.some((o) => o.kind === 'NetworkPolicy'
        && !Object.keys(o.spec.podSelector).length
        && o.spec.policyTypes.length === 2
        && !o.spec.ingress && !o.spec.egress))
        fault('NetworkPolicy', 'there is no default deny');
    for (const kind of ['PodDisruptionBudget', 'HorizontalPodAutoscaler'])
        if (!objects.some((o) => o.kind === kind))
            fault(kind, 'there is none');
}

for (const path of process.argv.slice(2))
    await checkFile(path);
faults.forEach((line) => console.log(line));
process.exit(faults.length ? 1 : 0);
