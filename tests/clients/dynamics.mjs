// DynamicsWebApi through the proxy: node dynamics.mjs http://localhost:PORT/dynamics/
import assert from "node:assert/strict";
import { DynamicsWebApi } from "dynamics-web-api";

const client = new DynamicsWebApi({ serverUrl: process.argv[2], dataApi: { version: "9.2" } });
const collection = "accounts";

const all = await client.retrieveAll({ collection, select: ["name"], maxPageSize: 100 });
assert.equal(all.value.length, 1000);

// It takes the key from the address in OData-EntityId, which leads here.
const key = await client.create({ collection, data: { name: "Fabrikam (fake)" } });
assert.match(key, /^[0-9a-f-]{36}$/);
const row = await client.retrieve({ collection, key, select: ["name"] });
const ifmatch = row["@odata.etag"];
assert.equal(await client.update({ collection, key, data: { name: "Größe €" }, ifmatch }), true);
assert.equal(await client.update({ collection, key, data: { name: "x" }, ifmatch: 'W/"1"' }), false);
const contact = "00000000-0000-0000-0000-000000000001";
const relation = { collection, primaryKey: key, relationshipName: "contact_customer_accounts" };
await client.associate({ ...relation, relatedCollection: "contacts", relatedKey: contact });
await client.disassociate({ ...relation, relatedKey: contact });

const data = Buffer.alloc(9_000_000);
await client.uploadFile({ collection, key, fieldName: "sample_filecolumn", fileName: "a.bin", data });

client.startBatch();
client.retrieve({ collection, key });
client.create({ collection, data: { name: "Fabrikam 2 (fake)" } });
client.deleteRecord({ collection, key });
const [read, made, gone] = await client.executeBatch();
assert.equal(read.accountid, key);
assert.match(made, /^[0-9a-f-]{36}$/);
assert.ok(gone);

const impersonate = contact;
await assert.rejects(client.retrieveMultiple({ collection, impersonate }), /keep_headers/);
console.log("fine");
