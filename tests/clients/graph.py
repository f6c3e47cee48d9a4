"""Microsoft's Graph SDK for Python through the proxy: python graph.py http://localhost:PORT/graph/v1.0"""

import asyncio
import sys

from kiota_abstractions.authentication import AnonymousAuthenticationProvider
from msgraph import GraphRequestAdapter, GraphServiceClient
from msgraph.generated.models.reference_create import ReferenceCreate
from msgraph.generated.models.user import User
from msgraph_core.requests.batch_request_content import BatchRequestContent
from msgraph_core.requests.batch_request_builder import BatchRequestBuilder
from msgraph_core.tasks.page_iterator import PageIterator


async def main(base: str) -> None:
    adapter = GraphRequestAdapter(AnonymousAuthenticationProvider())
    adapter.base_url = base
    client = GraphServiceClient(request_adapter=adapter)

    page = await client.users.get()
    seen = set()
    iterator = PageIterator(page, adapter)
    await iterator.iterate(lambda user: seen.add(user.id) or True)
    assert len(seen) == 1000, f"{len(seen)} users were paged through"

    made = await client.users.post(User(display_name="Grace Fake", user_principal_name="grace@contoso-fake.example"))
    assert made.id, "the created user has an id"
    group = client.groups.by_group_id("99999999-aaaa-4bbb-8ccc-000000000001")
    await group.members.ref.post(ReferenceCreate(odata_id=f"{base}/directoryObjects/{made.id}"))
    await client.users.by_user_id(made.id).delete()

    content = b"x" * 200_000
    item = client.drives.by_drive_id("d").items.by_drive_item_id("i")
    uploaded = await item.content.put(content)
    assert uploaded.size == len(content), "the upload arrived whole"

    batch = BatchRequestContent()
    batch.add_request_information(client.users.to_get_request_information())
    batch.add_request_information(client.groups.to_get_request_information())
    answers = await BatchRequestBuilder(adapter).post(batch)
    statuses = [answer.status for answer in answers.responses.values()]
    assert statuses == [200, 200], f"the batch answered {statuses}"


asyncio.run(main(sys.argv[1]))
print("fine")
