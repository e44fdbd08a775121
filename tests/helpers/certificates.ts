import { exists, makeReadableDir, SYSTEM_DIR } from "../../scripts/postgres/binaries.ts";
import { databaseUser } from "../../scripts/postgres/cluster.ts";
import { isThere } from "./needs.ts";

/** PEM files for a PostgreSQL on this machine that speaks TLS. */
export interface Certificates extends AsyncDisposable {
  dir: string;
  /** The authority that signed the server's and the client's certificate. */
  ca: string;
  /** An authority that signed nothing. */
  otherCa: string;
  clientCert: string;
  clientKey: string;
  /** What postgresql.conf says; the certificate is for localhost and 127.0.0.1. */
  settings: Record<string, string>;
  /** The same with a certificate for another host. */
  settingsOfElsewhere: Record<string, string>;
}

/** Whether certificates can be made, for `ignore` of a test. */
export async function opensslIsInstalled(): Promise<boolean> {
  return isThere(await exists("/usr/bin/openssl"), "install openssl for the tests with TLS");
}

const COMMANDS = `set -e
new="openssl req -newkey rsa:2048 -nodes"
for name in ca other; do
  $new -x509 -keyout $name.key -out $name.crt -days 2 -subj "/CN=$name of a test" \\
    -addext basicConstraints=critical,CA:TRUE
done
signed() { # name, subject, names
  $new -keyout $1.key -out $1.csr -subj "/CN=$2"
  printf 'basicConstraints=CA:FALSE\\n%s' "$3" > $1.ext
  openssl x509 -req -in $1.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile $1.ext -out $1.crt
}
signed server localhost 'subjectAltName=DNS:localhost,IP:127.0.0.1'
signed elsewhere elsewhere 'subjectAltName=DNS:elsewhere'
signed client etl ''
chmod 644 *.crt
chmod 600 *.key`;

/** Makes an authority, another one, and certificates for a server and a client. */
export async function makeCertificates(): Promise<Certificates> {
  if (Deno.uid() === 0) await makeReadableDir(SYSTEM_DIR);
  const dir = await Deno.makeTempDir({
    prefix: "etl-tls-",
    ...(Deno.uid() === 0 ? { dir: SYSTEM_DIR } : {}),
  });
  await Deno.chmod(dir, 0o755);
  const { success, stderr } = await new Deno.Command("bash", {
    args: ["-c", COMMANDS],
    cwd: dir,
  }).output();
  if (!success) throw new Error(new TextDecoder().decode(stderr));
  const user = await databaseUser();
  for (const name of ["server", "elsewhere"]) {
    if (user) await Deno.chown(`${dir}/${name}.key`, user.uid, user.gid);
  }
  const settings = (name: string) => ({
    ssl: "on",
    ssl_cert_file: `${dir}/${name}.crt`,
    ssl_key_file: `${dir}/${name}.key`,
    ssl_ca_file: `${dir}/ca.crt`,
  });
  return {
    dir,
    ca: `${dir}/ca.crt`,
    otherCa: `${dir}/other.crt`,
    clientCert: `${dir}/client.crt`,
    clientKey: `${dir}/client.key`,
    settings: settings("server"),
    settingsOfElsewhere: settings("elsewhere"),
    [Symbol.asyncDispose]: () => Deno.remove(dir, { recursive: true }),
  };
}
