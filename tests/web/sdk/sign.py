"""Signs the requests on stdin with the official SDK's signer: each line a JSON object, each answer the value of its
Authorization header as JSON."""

import json
import sys

from huaweicloudsdkcore.auth.credentials import BasicCredentials
from huaweicloudsdkcore.sdk_request import SdkRequest
from huaweicloudsdkcore.signer.signer import Signer

for line in sys.stdin:
    given = json.loads(line)
    request = SdkRequest(
        method=given["method"],
        host="unused",
        resource_path=given["path"],
        query_params=[tuple(pair) for pair in given["query"]],
        header_params=dict(given["headers"]),
        body=given["body"],
    )
    signed = Signer(BasicCredentials(given["access_key"], given["secret_key"], "p")).sign(request)
    print(json.dumps([signed.header_params["Authorization"], signed.uri]), flush=True)
