"""The real boto3, unchanged but for its endpoint and dummy credentials."""

from __future__ import annotations

import hashlib
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from inboxd.jobs.clock import FakeClock
from inboxd.jobs.queues import Queues
from tests.sqskit import serve

with warnings.catch_warnings():
    # What botocore says of itself on some Pythons is not ours to mend.
    warnings.simplefilter("ignore")
    import boto3
    from botocore.config import Config


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def client(tmp_path: Path, clock: FakeClock) -> Iterator[Any]:
    with Queues(str(tmp_path), clock=clock) as queues, serve(queues) as endpoint:
        client = boto3.client(
            "sqs",
            endpoint_url=endpoint,
            region_name="us-east-1",
            aws_access_key_id="dummy",
            aws_secret_access_key="dummy",
            config=Config(retries={"total_max_attempts": 1}),
        )
        yield client
        client.close()


def test_a_message_is_sent_received_and_deleted(client: Any) -> None:
    url = client.create_queue(QueueName="orders")["QueueUrl"]
    assert client.get_queue_url(QueueName="orders")["QueueUrl"] == url
    assert client.list_queues(QueueNamePrefix="ord")["QueueUrls"] == [url]
    kinds = {
        "kind": {"DataType": "String", "StringValue": "neu, grün"},
        "count": {"DataType": "Number", "StringValue": "12"},
        "blob": {"DataType": "Binary", "BinaryValue": b"\x00\x01"},
    }
    sent = client.send_message(QueueUrl=url, MessageBody='{"value": 12}', MessageAttributes=kinds)
    found = client.receive_message(QueueUrl=url, AttributeNames=["All"], MessageAttributeNames=["All"])["Messages"]
    assert [message["MessageId"] for message in found] == [sent["MessageId"]]
    assert found[0]["Body"] == '{"value": 12}'
    assert found[0]["MD5OfBody"] == sent["MD5OfMessageBody"] == hashlib.md5(b'{"value": 12}').hexdigest()
    assert found[0]["MessageAttributes"] == kinds
    assert found[0]["MD5OfMessageAttributes"] == sent["MD5OfMessageAttributes"]
    assert found[0]["Attributes"]["ApproximateReceiveCount"] == "1"
    assert "Messages" not in client.receive_message(QueueUrl=url)
    client.delete_message(QueueUrl=url, ReceiptHandle=found[0]["ReceiptHandle"])
    client.delete_message(QueueUrl=url, ReceiptHandle=found[0]["ReceiptHandle"])


def test_batches_tell_what_became_of_each_entry(client: Any, clock: FakeClock) -> None:
    url = client.create_queue(QueueName="orders", Attributes={"VisibilityTimeout": "10"})["QueueUrl"]
    entries = [{"Id": f"e{n}", "MessageBody": str(n), "DelaySeconds": 0} for n in range(9)]
    sent = client.send_message_batch(QueueUrl=url, Entries=[*entries, {"Id": "bad", "MessageBody": "\x00"}])
    assert [one["Id"] for one in sent["Successful"]] == [f"e{n}" for n in range(9)]
    assert sent["Failed"][0]["Code"] == "InvalidMessageContents"
    found = client.receive_message(QueueUrl=url, MaxNumberOfMessages=10)["Messages"]
    assert [message["Body"] for message in found] == [str(n) for n in range(9)]
    handles = [message["ReceiptHandle"] for message in found]
    changed = client.change_message_visibility_batch(
        QueueUrl=url,
        Entries=[{"Id": str(n), "ReceiptHandle": handles[n], "VisibilityTimeout": 100 * (n % 2)} for n in range(4)],
    )
    assert len(changed["Successful"]) == 4
    deleted = client.delete_message_batch(
        QueueUrl=url,
        Entries=[{"Id": str(n), "ReceiptHandle": handle} for n, handle in enumerate(handles)],
    )
    # Those that were given back are there, and somebody else's to take.
    assert [one["Id"] for one in deleted["Failed"]] == ["0", "2"]
    attributes = client.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    assert attributes["ApproximateNumberOfMessages"] == "2"
    assert attributes["ApproximateNumberOfMessagesNotVisible"] == "0"
    client.purge_queue(QueueUrl=url)
    assert "Messages" not in client.receive_message(QueueUrl=url)
    client.delete_queue(QueueUrl=url)
    with pytest.raises(client.exceptions.QueueDoesNotExist):
        client.receive_message(QueueUrl=url)


def test_what_is_received_too_often_goes_to_the_dead_letter_queue_and_comes_back(client: Any, clock: FakeClock) -> None:
    dead = client.create_queue(QueueName="orders-dead")["QueueUrl"]
    arn = client.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    policy = f'{{"deadLetterTargetArn": "{arn}", "maxReceiveCount": 2}}'
    url = client.create_queue(QueueName="orders", Attributes={"RedrivePolicy": policy})["QueueUrl"]
    assert client.list_dead_letter_source_queues(QueueUrl=dead)["queueUrls"] == [url]
    client.send_message(QueueUrl=url, MessageBody="poison")
    for _ in range(2):
        assert len(client.receive_message(QueueUrl=url)["Messages"]) == 1
        clock.advance(31)
    assert "Messages" not in client.receive_message(QueueUrl=url)
    found = client.receive_message(QueueUrl=dead, VisibilityTimeout=0, AttributeNames=["All"])["Messages"]
    assert found[0]["Body"] == "poison"
    assert found[0]["Attributes"]["DeadLetterQueueSourceArn"].endswith(":orders")
    clock.advance(2)
    client.start_message_move_task(SourceArn=arn)
    assert [message["Body"] for message in client.receive_message(QueueUrl=url)["Messages"]] == ["poison"]
    assert "Messages" not in client.receive_message(QueueUrl=dead)


def test_a_long_poll_ends_as_soon_as_there_is_a_message(client: Any) -> None:
    url = client.create_queue(QueueName="orders")["QueueUrl"]
    found: list[Any] = []

    def poll() -> None:
        found.append(client.receive_message(QueueUrl=url, WaitTimeSeconds=20))

    thread = threading.Thread(target=poll)
    thread.start()
    client.send_message(QueueUrl=url, MessageBody="hello")
    # Long before the 20 s are over.
    thread.join(15)
    assert [message["Body"] for message in found[0]["Messages"]] == ["hello"]


def test_a_resource_of_boto3_works_as_well(client: Any) -> None:
    resource = boto3.resource(
        "sqs",
        endpoint_url=client.meta.endpoint_url,
        region_name="us-east-1",
        aws_access_key_id="dummy",
        aws_secret_access_key="dummy",
    )
    queue = resource.create_queue(QueueName="things", Attributes={"DelaySeconds": "0"})
    queue.send_message(MessageBody="one")
    for message in queue.receive_messages(MaxNumberOfMessages=10):
        message.change_visibility(VisibilityTimeout=5)
        message.delete()
    queue.load()
    assert queue.attributes["ApproximateNumberOfMessages"] == "0"
    resource.meta.client.close()


@pytest.mark.parametrize(
    ("call", "said", "code"),
    [
        ("get_queue_url", {"QueueName": "absent"}, "AWS.SimpleQueueService.NonExistentQueue"),
        ("create_queue", {"QueueName": "no/such name"}, "InvalidParameterValue"),
        ("create_queue", {"QueueName": "orders", "Attributes": {"DelaySeconds": "5"}}, "QueueAlreadyExists"),
        ("create_queue", {"QueueName": "x", "Attributes": {"Dealy": "5"}}, "InvalidAttributeName"),
        ("create_queue", {"QueueName": "x", "Attributes": {"DelaySeconds": "901"}}, "InvalidAttributeValue"),
        ("receive_message", {"MaxNumberOfMessages": 11}, "InvalidParameterValue"),
        ("receive_message", {"WaitTimeSeconds": 21}, "InvalidParameterValue"),
        ("send_message", {"MessageBody": ""}, "MissingParameter"),
        ("send_message", {"MessageBody": "a\x0bb"}, "InvalidMessageContents"),
        ("send_message", {"MessageBody": "a" * (2**20 + 1)}, "InvalidParameterValue"),
        ("delete_message", {"ReceiptHandle": "nonsense"}, "ReceiptHandleIsInvalid"),
        ("change_message_visibility", {"ReceiptHandle": "x", "VisibilityTimeout": 1}, "ReceiptHandleIsInvalid"),
        ("send_message_batch", {"Entries": []}, "AWS.SimpleQueueService.EmptyBatchRequest"),
        (
            "send_message_batch",
            {"Entries": [{"Id": "a", "MessageBody": "x"}] * 2},
            "AWS.SimpleQueueService.BatchEntryIdsNotDistinct",
        ),
        (
            "send_message_batch",
            {"Entries": [{"Id": f"a{n}", "MessageBody": "x"} for n in range(11)]},
            "AWS.SimpleQueueService.TooManyEntriesInBatchRequest",
        ),
        ("get_queue_attributes", {"AttributeNames": ["Colour"]}, "InvalidAttributeName"),
        ("list_queue_tags", {}, "AWS.SimpleQueueService.UnsupportedOperation"),
    ],
)
def test_what_is_wrong_has_the_name_that_sqs_gives_it(client: Any, call: str, said: dict[str, Any], code: str) -> None:
    url = client.create_queue(QueueName="orders")["QueueUrl"]
    arguments = said if "QueueName" in said else {"QueueUrl": url, **said}
    with pytest.raises(client.exceptions.ClientError) as raised:
        getattr(client, call)(**arguments)
    assert raised.value.response["Error"]["Code"] == code
    assert raised.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400


def test_a_lease_that_ran_out_can_no_longer_be_used(client: Any, clock: FakeClock) -> None:
    url = client.create_queue(QueueName="orders")["QueueUrl"]
    client.send_message(QueueUrl=url, MessageBody="x")
    handle = client.receive_message(QueueUrl=url)["Messages"][0]["ReceiptHandle"]
    clock.advance(31)
    with pytest.raises(client.exceptions.MessageNotInflight):
        client.change_message_visibility(QueueUrl=url, ReceiptHandle=handle, VisibilityTimeout=5)
    assert len(client.receive_message(QueueUrl=url)["Messages"]) == 1
    with pytest.raises(client.exceptions.ClientError, match="expired"):
        client.delete_message(QueueUrl=url, ReceiptHandle=handle)


def test_attributes_can_be_changed_and_survive(client: Any, tmp_path: Path) -> None:
    url = client.create_queue(QueueName="orders")["QueueUrl"]
    client.set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": "77", "MessageRetentionPeriod": "600"})
    with Queues(str(tmp_path)) as later:
        assert later.get("orders").settings.lease == 77
