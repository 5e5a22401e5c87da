"""Calls the service with the official SDK, as the lines on stdin say, and prints what came back.

Each line is a JSON list: the name of an operation, and its arguments. Each answer is a line of JSON: either
{"ok": ...} or {"error": {"status", "code", "message", "request_id"}}.
"""

import json
import os
import sys

from huaweicloudsdkcore.auth.credentials import BasicCredentials
from huaweicloudsdkcore.exceptions.exceptions import ServiceResponseException
from huaweicloudsdkcore.http.http_config import HttpConfig
from huaweicloudsdkcss.v1 import (
    CssClient,
    ListClustersDetailsRequest,
    RetryUpgradeTaskRequest,
    UpgradeDetailRequest,
)

credentials = BasicCredentials(
    os.environ["SDK_ACCESS_KEY"], os.environ["SDK_SECRET_KEY"], os.environ["SDK_PROJECT"]
)
client = (
    CssClient.new_builder()
    .with_http_config(HttpConfig.get_default_config())
    .with_credentials(credentials)
    .with_endpoint(os.environ["SDK_ENDPOINT"])
    .build()
)


def clusters(page):
    """A page of clusters. `page` names its first item by whichever name this SDK has."""
    answer = client.list_clusters_details(ListClustersDetailsRequest(**page))
    return {"total": answer.total_size, "names": [cluster.name for cluster in answer.clusters]}


def tasks(cluster, page):
    """The tasks of a cluster."""
    answer = client.upgrade_detail(UpgradeDetailRequest(cluster_id=cluster, **page))
    fields = ("id", "status", "start_time", "end_time", "execute_times", "completed_nodes", "migrate_param")
    tasks = [{field: getattr(task, field) for field in fields} for task in answer.detail_list]
    steps = [len(task.current_node_detail or []) for task in answer.detail_list]
    return {"total": answer.total_size, "tasks": tasks, "steps": steps}


def retry(cluster, task, how):
    """Retries a task, or aborts it."""
    request = RetryUpgradeTaskRequest(cluster_id=cluster, action_id=task, **how)
    return client.retry_upgrade_task(request).status_code


for line in sys.stdin:
    name, *arguments = json.loads(line)
    try:
        answer = {"ok": {"clusters": clusters, "tasks": tasks, "retry": retry}[name](*arguments)}
    except ServiceResponseException as error:
        answer = {
            "error": {
                "status": error.status_code,
                "code": error.error_code,
                "message": error.error_msg,
                "request_id": error.request_id,
            }
        }
    print(json.dumps(answer), flush=True)
