"""Calls IAM with the official SDK, as the lines on stdin say, and prints what came back: as client.py does."""

import json
import os
import sys

from huaweicloudsdkcore.auth.credentials import BasicCredentials, GlobalCredentials
from huaweicloudsdkcore.exceptions.exceptions import ServiceResponseException
from huaweicloudsdkcore.http.http_config import HttpConfig
from huaweicloudsdkcss.v1 import CssClient, ListClustersDetailsRequest
from huaweicloudsdkiam import v3 as iam

ENDPOINT = os.environ["SDK_ENDPOINT"]
KEYS = (os.environ["SDK_ACCESS_KEY"], os.environ["SDK_SECRET_KEY"])
client = (
    iam.IamClient.new_builder()
    .with_http_config(HttpConfig.get_default_config())
    .with_credentials(GlobalCredentials(*KEYS, domain_id="d78cbac186b744899480f25bd0000000"))
    .with_endpoint(ENDPOINT)
    .build()
)


def token(user, password, domain, region):
    """A token for a password, for the project of a region."""
    person = iam.PwdPasswordUser(domain=iam.PwdPasswordUserDomain(name=domain), name=user, password=password)
    identity = iam.PwdIdentity(methods=["password"], password=iam.PwdPassword(user=person))
    auth = iam.PwdAuth(identity=identity, scope=iam.AuthScope(project=iam.AuthScopeProject(name=region)))
    body = iam.KeystoneCreateUserTokenByPasswordRequestBody(auth=auth)
    request = iam.KeystoneCreateUserTokenByPasswordRequest(nocatalog="true", body=body)
    answer = client.keystone_create_user_token_by_password(request)
    return {"token": answer.x_subject_token, "ends": answer.token.expires_at, "project": answer.token.project.id}


def agency(name, domain):
    """Temporary keys of an agency, and how many clusters the service shows for them."""
    role = iam.IdentityAssumerole(agency_name=name, domain_name=domain, duration_seconds=900)
    auth = iam.AgencyAuth(identity=iam.AgencyAuthIdentity(methods=["assume_role"], assume_role=role))
    body = iam.CreateTemporaryAccessKeyByAgencyRequestBody(auth=auth)
    request = iam.CreateTemporaryAccessKeyByAgencyRequest(body=body)
    key = client.create_temporary_access_key_by_agency(request).credential
    credentials = BasicCredentials(key.access, key.secret, os.environ["SDK_PROJECT"])
    credentials = credentials.with_security_token(key.securitytoken)
    css = CssClient.new_builder().with_credentials(credentials).with_endpoint(ENDPOINT).build()
    answer = css.list_clusters_details(ListClustersDetailsRequest())
    return {"ends": key.expires_at, "clusters": answer.total_size}


def projects(name):
    """The projects of a name."""
    answer = client.keystone_list_projects(iam.KeystoneListProjectsRequest(name=name))
    return [project.id for project in answer.projects]


for line in sys.stdin:
    name, *arguments = json.loads(line)
    try:
        answer = {"ok": {"token": token, "agency": agency, "projects": projects}[name](*arguments)}
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
