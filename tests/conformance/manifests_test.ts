import assert from "node:assert/strict";
import { dirname, join, resolve } from "node:path";
import { parse, parseAllDocuments } from "yaml";
import { exists } from "../../scripts/postgres/binaries.ts";
import { debian15IsInstalled } from "../helpers/clusters.ts";
import { npmPackages } from "../helpers/npm.ts";
import { ownCluster } from "../helpers/postgres.ts";
import { pythonVenv } from "../helpers/python.ts";
import { withClient } from "../helpers/query.ts";
import { lacks } from "../helpers/needs.ts";

const DEPLOY = resolve(import.meta.dirname ?? ".", "..", "..", "deploy");
const KUBERNETES = join(DEPLOY, "kubernetes");

/** Runs a program of the tests' Python; answers what it says, and throws with that when it fails. */
async function python(program: string, args: string[], cwd = DEPLOY): Promise<string> {
  const venv = await pythonVenv("deploy", join(import.meta.dirname!, "deploy_requirements.txt"));
  return await run(join(dirname(venv), program), args, { cwd });
}

async function run(program: string, args: string[], options: Deno.CommandOptions = {}) {
  const { success, stdout, stderr } = await new Deno.Command(program, {
    args,
    stdin: "null",
    ...options,
  }).output();
  const said = new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr);
  if (!success) throw new Error(`${program} ${args.join(" ")}:\n${said}`);
  return said;
}

function documents(text: string): Record<string, unknown>[] {
  return parseAllDocuments(text).map((each) => {
    assert.deepEqual(each.errors, []);
    return each.toJS();
  });
}

Deno.test("hadolint finds nothing in the Dockerfiles", async () => {
  await python("hadolint", ["Dockerfile", "postgres/Dockerfile"]);
});

Deno.test("compose.yaml is what the Compose specification's schema allows, and names only what is there", async () => {
  await python("check-jsonschema", ["--builtin-schema", "vendor.compose-spec", "compose.yaml"]);
  const compose = parse(await Deno.readTextFile(join(DEPLOY, "compose.yaml")), { merge: true });
  const made = await Deno.readTextFile(join(DEPLOY, "make_secrets.sh"));
  for (const [name, { file }] of Object.entries(compose.secrets) as [string, { file: string }][]) {
    assert.equal(file, `secrets/${name}`);
    // the token of Prometheus is made by the program
    if (name !== "metrics_token") assert.match(made, new RegExp(`for name in .*\\b${name}\\b`));
  }
  for (const service of Object.values(compose.services) as Record<string, string[]>[]) {
    for (const secret of service.secrets ?? []) assert.ok(compose.secrets[secret], secret);
    for (const volume of service.volumes ?? []) {
      const from = volume.split(":")[0]!;
      if (!from.startsWith(".")) assert.ok(from in compose.volumes, from);
      else if (from !== "../data") assert.ok(await exists(join(DEPLOY, from)), from);
    }
  }
});

Deno.test("make_secrets.sh makes secrets once, long enough for a token", async () => {
  const dir = await Deno.makeTempDir();
  await Deno.copyFile(join(DEPLOY, "make_secrets.sh"), join(dir, "make_secrets.sh"));
  await run("sh", ["make_secrets.sh"], { cwd: dir });
  const read = () => Deno.readTextFile(join(dir, "secrets", "admin_token"));
  const first = await read();
  assert.match(first, /^[0-9a-f]{48}$/);
  assert.equal(await run("sh", ["make_secrets.sh"], { cwd: dir }), "");
  assert.equal(await read(), first);
  assert.equal((await Deno.stat(join(dir, "secrets"))).mode! & 0o077, 0);
  await Deno.remove(dir, { recursive: true });
});

Deno.test("Kubernetes' own schemas accept the manifests, of the newest version and an older one", async () => {
  const files = [...Deno.readDirSync(KUBERNETES)].map(({ name }) => name)
    .filter((name) => name.endsWith(".yaml") && name !== "kustomization.yaml").sort();
  for (const version of ["1.37", "1.30"]) {
    await python("kubernetes-validate", ["--strict", "-k", version, ...files], KUBERNETES);
  }
  const { resources } = parse(await Deno.readTextFile(join(KUBERNETES, "kustomization.yaml")));
  assert.deepEqual(
    [...resources].sort(),
    files.filter((name) => name !== "secret.example.yaml"),
  );
});

Deno.test("pods run as nobody in particular, with nothing to write but volumes, and end after their drain", async () => {
  for (const role of ["api", "worker"]) {
    const [deployment] = documents(await Deno.readTextFile(join(KUBERNETES, `${role}.yaml`)));
    // deno-lint-ignore no-explicit-any
    const { spec } = (deployment as any).spec.template;
    const [container] = spec.containers;
    assert.equal(spec.securityContext.runAsNonRoot, true);
    assert.equal(container.securityContext.readOnlyRootFilesystem, true);
    assert.equal(container.securityContext.allowPrivilegeEscalation, false);
    assert.deepEqual(container.securityContext.capabilities.drop, ["ALL"]);
    assert.ok(spec.terminationGracePeriodSeconds > 15, "a server drains for 15 s at most");
    assert.equal(container.livenessProbe.httpGet.path, "/livez");
    assert.equal(container.readinessProbe.httpGet.path, "/readyz");
    // the guard answers only hosts that it knows, and the kubelet asks by address
    for (const probe of ["startupProbe", "livenessProbe", "readinessProbe"]) {
      assert.deepEqual(container[probe].httpGet.httpHeaders, [{
        name: "Host",
        value: "localhost",
      }]);
    }
    const volumes = new Set(spec.volumes.map((each: { name: string }) => each.name));
    for (const { name } of container.volumeMounts) assert.ok(volumes.has(name), name);
    const env = new Map(
      container.env.map((each: { name: string; value: string }) => [each.name, each.value]),
    );
    assert.equal(env.get("ETL_ROLE"), role);
    assert.match(String(env.get("ETL_ALLOWED_HOSTS")), /\$\(POD_IP\)/);
  }
});

Deno.test("KEDA's models and Kubernetes' schemas accept what scales the workers, by one number", async () => {
  const dir = join(KUBERNETES, "autoscaling");
  for (const version of ["1.37", "1.30"]) {
    await python("kubernetes-validate", ["--strict", "-k", version, "hpa.yaml"], dir);
  }
  const keda = documents(await Deno.readTextFile(join(dir, "keda.yaml")));
  const packages = await npmPackages("keda", ["@kubernetes-models/keda@2.0.0"]);
  for (const kind of ["TriggerAuthentication", "ScaledObject"]) {
    const module = `@kubernetes-models/keda/keda.sh/v1alpha1/${kind}`;
    const validate = `import { ${kind} } from "${module}";
      new ${kind}(JSON.parse(Deno.args[0])).validate();`;
    const path = join(packages, `${kind}.ts`);
    await Deno.writeTextFile(path, validate);
    const check = (value: unknown) =>
      run(Deno.execPath(), [
        ...["run", "--no-lock", "--node-modules-dir=manual", "-A", path, JSON.stringify(value)],
      ], { cwd: packages, env: { NO_COLOR: "1" } });
    const manifest = keda.find((each) => each.kind === kind)!;
    await check(manifest);
    await assert.rejects(check({ ...manifest, spec: 3 }), /spec/);
  }
  // deno-lint-ignore no-explicit-any
  const [trigger] = (keda.find(({ kind }) => kind === "ScaledObject") as any).spec.triggers;
  assert.equal(trigger.metadata.query, "select etl.runnable_runs()");
});

Deno.test("the models of the Prometheus Operator accept the monitor and the rules, and know every member", async () => {
  const dir = await npmPackages("prometheus-operator", [
    "@kubernetes-models/prometheus-operator@6.0.0",
  ]);
  const monitors = join(DEPLOY, "observability", "servicemonitors");
  for (
    const [file, kind] of [
      ["etl-metrics.yaml", "ServiceMonitor"],
      ["etl-alerts.yaml", "PrometheusRule"],
    ] as const
  ) {
    const [manifest] = documents(await Deno.readTextFile(join(monitors, file)));
    const module = `@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/${kind}`;
    const program = (value: unknown) =>
      `import { ${kind}, type I${kind} } from "${module}";
const manifest: I${kind} = ${JSON.stringify(value)};
new ${kind}(manifest).validate();\n`;
    const check = async (value: unknown) => {
      const path = join(dir, `${kind}-${crypto.randomUUID()}.ts`);
      await Deno.writeTextFile(path, program(value));
      try {
        const args = ["run", "--check", "--no-lock", "--node-modules-dir=manual", "-A"];
        await run(Deno.execPath(), [...args, path], { cwd: dir, env: { NO_COLOR: "1" } });
      } finally {
        await Deno.remove(path);
      }
    };
    await check(manifest);
    // that it would say so
    await assert.rejects(check({ ...manifest, spek: {} }), /spek/);
    await assert.rejects(check({ ...manifest, spec: 3 }), /spec/);
  }
});

Deno.test({
  name: "systemd finds nothing wrong with the unit and little to harden",
  ignore: lacks(
    await exists("/usr/bin/systemd-analyze"),
    "install systemd for the test of its unit",
  ),
  async fn() {
    const dir = await Deno.makeTempDir();
    const unit = join(dir, "etl-improved.service");
    const text = await Deno.readTextFile(join(DEPLOY, "systemd", "etl-improved.service"));
    await Deno.writeTextFile(unit, text.replaceAll("/opt/etl-improved", dirname(DEPLOY)));
    assert.equal((await run("systemd-analyze", ["verify", "--man=no", unit])).trim(), "");
    // exposure, of 100
    await run("systemd-analyze", ["security", "--offline=yes", "--threshold=20", unit]);
    const stop = Number(/^TimeoutStopSec=(\d+)$/m.exec(text)![1]);
    assert.ok(stop > 15);
    await Deno.remove(dir, { recursive: true });
  },
});

Deno.test({
  name: "the database of compose.yaml gets pg_cron, a role for the server, and one that only reads",
  ignore: !await debian15IsInstalled(),
  async fn() {
    await using cluster = await ownCluster({ kind: "debian15" });
    const url = new URL(cluster.dsn);
    await withClient(cluster.dsn, async (client) => {
      await client.query("create role postgres superuser login password 'p'");
    });
    [url.username, url.password] = ["postgres", "p"];
    const owner = url.href;
    await withClient(owner, async (client) => {
      await client.query("alter role etl rename to of_the_tests");
    });
    const dir = await Deno.makeTempDir();
    await Deno.writeTextFile(`${dir}/etl`, "it's the server");
    await Deno.writeTextFile(`${dir}/reader`, "reader's");
    await run("sh", [join(DEPLOY, "postgres", "init.sh")], {
      env: {
        POSTGRES_USER: url.username,
        POSTGRES_DB: "etl",
        PGHOST: url.hostname,
        PGPORT: url.port,
        PGPASSWORD: decodeURIComponent(url.password),
        ETL_PASSWORD_FILE: `${dir}/etl`,
        READER_PASSWORD_FILE: `${dir}/reader`,
      },
    });
    await withClient(owner, async (client) => {
      await client.query("select cron.schedule('x', '* * * * *', 'select 1')");
    });
    url.username = "etl_reader";
    url.password = "reader's";
    await withClient(url.href, async (client) => {
      await client.query("select * from pg_stat_activity");
      await assert.rejects(
        client.query("create temporary table t (a int)"),
        /permission|read-only/,
      );
    });
    await Deno.remove(dir, { recursive: true });
  },
});
