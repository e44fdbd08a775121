import assert from "node:assert/strict";
import { KNOWN_VARIABLES, unknownVariables } from "../../server/environment_names.ts";

Deno.test("unknownVariables() finds what nothing reads, with the name that was probably meant", () => {
  assert.deepEqual(
    unknownVariables(["ETL_PROT", "ETL_ENTIRELY_OF_ANOTHER", "ETL_ADMIN_TOKNE_FILE"]),
    [
      { name: "ETL_ADMIN_TOKNE_FILE", meant: "ETL_ADMIN_TOKEN" },
      { name: "ETL_ENTIRELY_OF_ANOTHER" },
      { name: "ETL_PROT", meant: "ETL_PORT" },
    ],
  );
  assert.deepEqual(unknownVariables(["etl_improved__batch_sise"]), [
    { name: "etl_improved__batch_sise", meant: "ETL_IMPROVED__BATCH_SIZE" },
  ]);
});

Deno.test("unknownVariables() leaves alone what is read, made up as needed, or of a service in Kubernetes", () => {
  assert.deepEqual(
    unknownVariables([
      ...KNOWN_VARIABLES,
      "ETL_ADMIN_TOKEN_FILE",
      "etl_improved__batch_size",
      "ETL_CONNECTION_SHOP",
      "ETL_TEST_PG",
      ..."SERVICE_HOST SERVICE_PORT SERVICE_PORT_HTTP PORT PORT_80_TCP PORT_80_TCP_ADDR".split(" ")
        .map((end) => `ETL_IMPROVED_${end}`),
    ]),
    [],
  );
  // without the service it is a name like any other
  assert.equal(unknownVariables(["ETL_IMPROVED_PORT_80_TCP"]).length, 1);
});
