"""A stand-in for Keitaro behind Nginx: `python tracker.py --listen 127.0.0.1:PORT`.

GET /ALIAS             302 to an offer, the subid in the cookie `_subid` among decoys; `_test_subid` fixes it
GET /nocookie          302 without that cookie, the subid only in the offer's parameter `sub`
GET /landing           200, a page, with the cookie
ANY /KEY/postback      200 "Success"
?_update_tokens=1      200, whatever the path
GET /robots.txt        200, neither cookie nor redirect: no click

With `--style uuid` it is no Keitaro: a redirect sets no cookie, the subid is a UUID in the offer's parameter `sub`, and
there is no /KEY/postback.
"""

import argparse
import random
import string
import uuid
from urllib.parse import urlencode

from aiohttp import web
from multidict import CIMultiDict

OFFER = "https://offer.example.com/"
#: What else a tracker sets; names and values that a careless reader takes for the subid.
DECOYS_BEFORE = ("_token=uuid_decoy_0000; Path=/", "subid_decoy=decoy00000000; Path=/")
DECOYS_AFTER = ("x_subid=decoy11111111; Path=/", "_subid_old=decoy22222222; Path=/; HttpOnly")


async def visit(request: web.Request) -> web.Response:
    if "_update_tokens" in request.query:
        return web.Response(text="")
    alias = request.match_info["alias"]
    if alias == "robots.txt":
        return web.Response(text="User-agent: *\n")
    subid = request.query.get("_test_subid") or "".join(random.choices(string.ascii_lowercase + string.digits, k=13))
    headers = CIMultiDict[str]()
    own = () if alias == "nocookie" else (f"_subid={subid}; Path=/; Max-Age=2678400",)
    for cookie in (*DECOYS_BEFORE, *own, *DECOYS_AFTER):
        headers.add("Set-Cookie", cookie)
    if alias == "landing":
        return web.Response(text="<h1>landing</h1>", content_type="text/html", headers=headers)
    offer = {"sub": subid, "o": "1"} if alias == "nocookie" else {"o": "1"}
    headers["Location"] = f"{OFFER}?{urlencode(offer)}"
    return web.Response(status=302, headers=headers)


async def visit_by_uuid(request: web.Request) -> web.Response:
    subid = request.query.get("_test_subid") or str(uuid.uuid4())
    return web.Response(status=302, headers={"Location": f"{OFFER}?{urlencode({'o': '1', 'sub': subid})}"})


async def postback(request: web.Request) -> web.Response:
    await request.read()
    return web.Response(text="Success")


def application(style: str = "keitaro") -> web.Application:
    app = web.Application(client_max_size=2 << 20)
    if style == "uuid":
        app.router.add_route("*", "/{alias:[^/]*}", visit_by_uuid)
        return app
    app.router.add_route("*", "/{key}/postback", postback)
    app.router.add_route("*", "/{key}/postback/", postback)
    app.router.add_route("*", "/{alias:[^/]*}", visit)
    return app


def main() -> None:
    parser = argparse.ArgumentParser(description="A stand-in for the Keitaro tracker.")
    parser.add_argument("--listen", required=True, metavar="HOST:PORT")
    parser.add_argument("--style", choices=("keitaro", "uuid"), default="keitaro")
    options = parser.parse_args()
    host, _, port = options.listen.rpartition(":")
    web.run_app(application(options.style), host=host, port=int(port), print=None, access_log=None)


if __name__ == "__main__":
    main()
