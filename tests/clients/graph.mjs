// Microsoft's Graph SDK for JavaScript through the proxy. It follows links over https alone, so the
// proxy is reached by TLS: node graph.mjs https://localhost:PORT/graph/
import "isomorphic-fetch";
import assert from "node:assert/strict";
import {
  BatchRequestContent,
  BatchResponseContent,
  Client,
  PageIterator,
} from "@microsoft/microsoft-graph-client";

const base = process.argv[2];
const client = Client.init({
  baseUrl: base,
  defaultVersion: "v1.0",
  authProvider: (done) => done(null, "not a token"),
});

const page = await client.api("/users").get();
const seen = new Set();
const iterator = new PageIterator(client, page, (user) => {
  seen.add(user.id);
  return true;
});
await iterator.iterate();
assert.equal(seen.size, 1000);

const made = await client.api("/users").post({ displayName: "Grace Fake" });
assert.ok(made.id);
const group = "/groups/99999999-aaaa-4bbb-8ccc-000000000001";
await client.api(`${group}/members/$ref`).post({
  "@odata.id": `${base}v1.0/directoryObjects/${made.id}`,
});
await client.api(`/users/${made.id}`).delete();

const content = new Uint8Array(200_000);
const uploaded = await client.api("/drives/d/items/i/content").put(content);
assert.equal(uploaded.size, content.length);

const batch = new BatchRequestContent(
  ["users", "groups"].map((name) => ({
    id: name,
    // The SDK keeps what follows the origin, and Graph takes that from the version on.
    request: new Request(`https://batch.example/${name}`, { method: "GET" }),
  })),
);
const answers = new BatchResponseContent(await client.api("/$batch").post(await batch.getContent()));
for (const name of ["users", "groups"]) {
  assert.equal(answers.getResponseById(name).status, 200);
}
console.log("fine");
