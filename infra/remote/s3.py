"""One request to S3, with boto3 (the extra `s3`). Credentials come from the environment; without any it is unsigned."""

import os
from functools import lru_cache
from typing import Any

from infra.errors import EnvironmentProblem
from infra.remote.access import Access, Transient, refusal, seconds_of, user_agent
from infra.remote.address import bucket_and_key
from infra.remote.reply import Reply, reply_of

REGION = "us-east-1"  # where the environment names none; Common Crawl's bucket lies there
LISTED_AT_ONCE = 1000


def request(url: str, start: int, stop: int | None, validator: str | None, access: Access) -> Reply:
    """Ask for bytes [start, stop) of an object (to its end: None); see `http.request`."""
    bucket, key = bucket_and_key(url)
    asked: dict[str, Any] = {"Bucket": bucket, "Key": key, "Range": f"bytes={start}-{'' if stop is None else stop - 1}"}
    if validator is not None and validator.startswith('"'):
        asked["IfMatch"] = validator
    answer = _call(url, access, "get_object", asked, start)
    about = answer["ResponseMetadata"]
    body = answer["Body"]

    def read(n: int) -> bytes:
        from botocore.exceptions import BotoCoreError
        from urllib3.exceptions import HTTPError

        try:
            return body.read(n)
        except (BotoCoreError, HTTPError, OSError) as error:
            raise Transient(f"the connection broke ({type(error).__name__})") from error

    return reply_of(about["HTTPStatusCode"], about["HTTPHeaders"], read, body.close)


def list_objects(url: str, access: Access, after: str | None) -> tuple[list[str], str | None]:
    """Addresses of objects below `s3://bucket/prefix/`, a page of them in key order, and where the next page begins."""
    bucket, prefix = bucket_and_key(url)
    asked: dict[str, Any] = {"Bucket": bucket, "Prefix": prefix, "MaxKeys": LISTED_AT_ONCE}
    if after is not None:
        asked["ContinuationToken"] = after
    answer = _call(url, access, "list_objects_v2", asked)
    found = [f"s3://{bucket}/{entry['Key']}" for entry in answer.get("Contents", [])]
    return found, answer.get("NextContinuationToken")


def _call(url: str, access: Access, operation: str, asked: dict[str, Any], start: int = 0) -> dict[str, Any]:
    client = _client(access.s3_endpoint, access.timeout)
    from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, PartialCredentialsError

    try:
        return getattr(client, operation)(**asked)
    except ClientError as error:
        about = error.response.get("ResponseMetadata", {})
        status = about.get("HTTPStatusCode", 500)
        wait = seconds_of(about.get("HTTPHeaders", {}).get("retry-after"))
        raise refusal(url, status, start) or Transient(f"the server answered {status}", wait) from error
    except (NoCredentialsError, PartialCredentialsError) as error:
        raise EnvironmentProblem(f"{url}: {error}; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY") from error
    except BotoCoreError as error:
        raise Transient(f"no answer ({type(error).__name__})") from error


@lru_cache
def _client(endpoint: str | None, timeout: float) -> Any:  # boto3 makes its classes as it goes
    """A process's client.

    Raises:
        EnvironmentProblem: boto3 is not installed.
    """
    try:
        import boto3
        from botocore import UNSIGNED
        from botocore.config import Config
    except ImportError as error:
        raise EnvironmentProblem("s3:// addresses need boto3; install it with: pip install 'sluice[s3]'") from error
    session = boto3.Session()
    endpoint = endpoint or os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    unsigned = {} if session.get_credentials() else {"signature_version": UNSIGNED}
    config = Config(
        connect_timeout=timeout,
        read_timeout=timeout,
        retries={"total_max_attempts": 1},  # ours count and wait
        user_agent=user_agent(),
        s3={"addressing_style": "path"} if endpoint else {},  # other servers seldom have a host name a bucket
        response_checksum_validation="when_required",  # a range has none
        max_pool_connections=16,
        **unsigned,
    )
    return session.client("s3", region_name=session.region_name or REGION, endpoint_url=endpoint, config=config)
