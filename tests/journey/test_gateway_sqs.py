"""An unchanged boto3 against the gateway: only the endpoint and the credentials are told to it."""

import warnings
from collections.abc import Iterator
from typing import Any

import boto3
import pytest

from tests.gatewaykit import ALL_PORTS, Served

pytestmark = pytest.mark.journey


@pytest.fixture
def sqs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with Served(tmp_path_factory.mktemp("sqs"), ports=ALL_PORTS) as served, warnings.catch_warnings():
        # botocore still uses what Python has deprecated.
        warnings.simplefilter("ignore", DeprecationWarning)
        yield boto3.client(
            "sqs",
            endpoint_url=f"http://{served.address('sqs')}",
            region_name="us-east-1",
            aws_access_key_id="x",
            aws_secret_access_key="y",
        )


def test_a_script_of_forty_calls(sqs: Any) -> None:
    calls = 0

    def call(name: str, **said: Any) -> Any:
        nonlocal calls
        calls += 1
        return getattr(sqs, name)(**said)

    dead = call("create_queue", QueueName="dead")["QueueUrl"]
    url = call("create_queue", QueueName="orders", Attributes={"VisibilityTimeout": "30"})["QueueUrl"]
    assert call("get_queue_url", QueueName="orders")["QueueUrl"] == url
    assert sorted(call("list_queues")["QueueUrls"]) == sorted([dead, url])
    for number in range(10):
        sent = call("send_message", QueueUrl=url, MessageBody=f"order {number}")
        assert sent["MessageId"]
    entries = [{"Id": str(n), "MessageBody": f"batch {n}"} for n in range(10)]
    assert len(call("send_message_batch", QueueUrl=url, Entries=entries)["Successful"]) == 10
    bodies: list[str] = []
    for _ in range(10):
        for message in call("receive_message", QueueUrl=url, MaxNumberOfMessages=2).get("Messages", []):
            bodies.append(message["Body"])
            call("delete_message", QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    assert sorted(bodies) == sorted([f"order {n}" for n in range(10)] + [f"batch {n}" for n in range(10)])
    assert "Messages" not in call("receive_message", QueueUrl=url, WaitTimeSeconds=1)
    counts = call("get_queue_attributes", QueueUrl=url, AttributeNames=["ApproximateNumberOfMessages"])
    assert counts["Attributes"]["ApproximateNumberOfMessages"] == "0"
    call("purge_queue", QueueUrl=url)
    with pytest.raises(sqs.exceptions.QueueDoesNotExist):
        call("get_queue_url", QueueName="nothing")
    assert calls >= 40


def test_a_long_poll_ends_when_a_message_comes(sqs: Any) -> None:
    url = sqs.create_queue(QueueName="polled", Attributes={"DelaySeconds": "0"})["QueueUrl"]
    sqs.send_message(QueueUrl=url, MessageBody="soon", DelaySeconds=1)
    (message,) = sqs.receive_message(QueueUrl=url, WaitTimeSeconds=20)["Messages"]
    assert message["Body"] == "soon"
