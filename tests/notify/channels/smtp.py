"""An SMTP server that prints each email as a line of JSON, and ends with its stdin."""

import email
import email.policy
import json
import sys

from aiosmtpd.controller import Controller


class Keep:
    async def handle_DATA(self, server, session, envelope):
        mail = email.message_from_bytes(envelope.content, policy=email.policy.default)
        print(json.dumps({
            "from": envelope.mail_from,
            "to": envelope.rcpt_tos,
            "subject": mail["subject"],
            "message_id": mail["message-id"],
            "text": mail.get_content(),
        }), flush=True)
        return "250 OK"


Controller(Keep(), hostname="127.0.0.1", port=int(sys.argv[1])).start()
sys.stdin.read()
