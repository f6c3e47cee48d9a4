"""Microsoft's Dataverse SDK for Python through the proxy. It refuses addresses without TLS:
REQUESTS_CA_BUNDLE=ca.pem python dataverse.py https://localhost:PORT/dynamics"""

import sys
import tempfile
from pathlib import Path

from azure.core.credentials import AccessToken
from PowerPlatform.Dataverse.client import DataverseClient
from PowerPlatform.Dataverse.core.errors import HttpError


class NoToken:
    """The SDK wants a credential; what this one gives must not reach Dataverse."""

    def get_token(self, *scopes, **options):
        return AccessToken("not-a-token", 2**40)


def pages(client):
    """A thousand rows, by links that hold a cookie which is encoded twice."""
    sizes, seen = [], set()
    for page in client.records.list_pages("account", select=["name", "accountid"], page_size=100):
        sizes.append(len(page))
        seen.update(row["accountid"] for row in page)
    assert sizes == [100] * 10 and len(seen) == 1000, f"pages of {sizes}, {len(seen)} rows"


def rows(client):
    made = client.records.create("account", {"name": "Fabrikam (fake)", "industrycode": "Accounting"})
    assert client.records.retrieve("account", made)["accountid"] == made
    client.records.update("account", made, {"name": "Fabrikam 2 (fake)"})
    client.records.delete("account", made)
    several = client.records.create("account", [{"name": f"Row {n} (fake)"} for n in range(3)])
    assert len(set(several)) == 3, several


def files(client):
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "upload.bin")
        file.write_bytes(bytes(9_000_000))
        made = client.records.create("account", {"name": "Fabrikam (fake)"})
        # In three pieces, sent to the address that the first answer gives.
        for mode in ["small", "chunk"]:
            client.files.upload("account", made, "sample_filecolumn", str(file), mode=mode)


def batches(client):
    """The SDK writes whole addresses into its request lines: the proxy's."""
    made = client.records.create("account", {"name": "Fabrikam (fake)"})
    batch = client.batch.new()
    batch.records.retrieve("account", made)
    with batch.changeset() as change:
        reference = change.records.create("account", {"name": "Fabrikam 3 (fake)"})
        change.records.update("account", reference, {"name": "Fabrikam 4 (fake)"})
        change.records.delete("account", made)
    batch.records.delete("account", made)
    result = batch.execute()
    statuses = [answer.status_code for answer in result.responses]
    assert statuses == [200, 204, 204, 204, 204], f"the batch answered {statuses}"
    assert result.responses[1].entity_id, "a row made in a batch is known by its address"


def errors(client):
    """Dataverse's own error arrives, with the numbers that its support asks for."""
    try:
        client.records.update("account", "x/nothing", {"name": "Nobody"})
    except HttpError as error:
        assert error.status_code == 404 and "segment" in error.message, error
        assert error.details["service_request_id"], error.details
    else:
        raise AssertionError("a row that is not there was changed")


with DataverseClient(sys.argv[1], NoToken()) as client:
    for part in [pages, rows, files, batches, errors]:
        part(client)
print("fine")
