"""Nginx before each kind of tracker, with the files that `capi-sidecar init nginx` writes, and PHP-FPM.

What `init nginx` leaves to the sysadmin is edited as he would: lines that end with `# edit`. Keitaro's own files are
made in the shape of its installer's templates: a handler in a location inside `location /`, reached by try_files,
whose file has its own access_log and proxy_ignore_client_abort, and includes the hook tracker.inc.
"""

import shutil
import subprocess
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path

from tests.acceptance.ours import COMMAND
from tests.acceptance.parts import Nginx, PartFailed, Process, Tracker, listens

#: index.php: a click is answered with the cookie among decoys, a postback with what PHP was told.
SCRIPT = r"""<?php
if (preg_match('#^/[^/]+/postback/?(\?|$)#', $_SERVER['REQUEST_URI'])) {
    echo json_encode(['script' => $_SERVER['SCRIPT_NAME'], 'uri' => $_SERVER['REQUEST_URI'],
                      'subid' => $_REQUEST['subid'] ?? '', 'bytes' => strlen(file_get_contents('php://input'))]);
    exit;
}
header('Set-Cookie: _token=uuid_decoy_0000; Path=/', false);
header('Set-Cookie: _subid=' . ($_GET['_test_subid'] ?? bin2hex(random_bytes(7))) . '; Path=/', false);
header('Set-Cookie: x_subid=decoy11111111; Path=/', false);
header('Location: https://offer.example.com/?o=1', true, 302);
"""

_POOL = """[global]
error_log = {directory}/php-fpm.log
[www]
user = root
listen = {socket}
pm = static
pm.max_children = 4
"""

_KEITARO_HTTP = """
    client_max_body_size 100m;
    keepalive_requests 100;
    gzip on;
    gzip_proxied any;
    proxy_buffering off;
    proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
    proxy_set_header Host $http_host;
    include conf.d/*.conf;
"""

_KEITARO_SERVER = """server {{
    listen {address} default_server;
    server_name _;
    access_log {access_log} combined;
    include {directory}/conf.d/local/keitaro/server.inc;
    root {directory}/www;
    index index.php index.html;

    location ~ /\\..* {{
        access_log off;
        return 404;
    }}
    location / {{
        location ~ ^/(api|index)\\.php$ {{
            add_header Access-Control-Allow-Origin *;
            include {directory}/conf.d/keitaro/locations/roadrunner.inc;
        }}
        try_files $uri $uri/ /index.php$is_args$args;
    }}
}}
"""

_ROADRUNNER = """include {directory}/conf.d/local/keitaro/tracker.inc;
access_log {access_log} combined;
proxy_ignore_client_abort on;
proxy_pass http://{tracker}$request_uri;
proxy_set_header Host $host;
proxy_set_header X-Forwarded-Proto $scheme;
"""


class PhpFpm(Process):
    """Debian's PHP-FPM on a unix socket, with `index.php` in `root`."""

    def __init__(self, directory: Path):
        self.socket = directory / "php.sock"
        self.root = directory / "www"
        self.root.mkdir()
        (self.root / "index.php").write_text(SCRIPT)
        conf = directory / "php-fpm.conf"
        conf.write_text(_POOL.format(directory=directory, socket=self.socket))
        super().__init__("php-fpm", [_php_fpm(), "--nodaemonize", "--allow-to-run-as-root", "-y", conf], directory)

    def ready(self) -> bool:
        return self.socket.exists() and listens(f"unix:{self.socket}")


def init_nginx(directory: Path, kind: str, intake: str, *further: str) -> subprocess.CompletedProcess[str]:
    """`capi-sidecar init nginx` for Nginx's directory, with the journal in it."""
    command = [*COMMAND, "init", "nginx", f"--{kind}", "--to", str(directory), "--intake", intake]
    command += ["--journal", str(directory / "journal.ndjson"), *further]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def start_variant(kind: str, directory: Path, intake: str, running: ExitStack) -> Nginx:
    """Nginx before a tracker of this kind, all of it started."""
    return running.enter_context(KINDS[kind](directory, intake, running))


def _before_proxy(directory: Path, intake: str, running: ExitStack) -> Nginx:
    tracker = running.enter_context(Tracker(directory))
    nginx = _laid(directory, "proxy", intake, "include capi-sidecar/example-proxy.conf;")
    edit(directory / "capi-sidecar/example-proxy.conf", _site(nginx) | {"127.0.0.1:8080": tracker.address})
    return nginx


def _before_php_fpm(directory: Path, intake: str, running: ExitStack) -> Nginx:
    php = running.enter_context(PhpFpm(directory))
    shutil.copy("/etc/nginx/fastcgi_params", directory)
    nginx = _laid(directory, "php-fpm", intake, "include capi-sidecar/example-php-fpm.conf;")
    site = _site(nginx) | {
        "root /var/www/tracker": f"root {php.root}",
        "unix:/run/php/php-fpm.sock": f"unix:{php.socket}",
    }
    edit(directory / "capi-sidecar/example-php-fpm.conf", site)
    return nginx


def _before_keitaro(directory: Path, intake: str, running: ExitStack) -> Nginx:
    tracker = running.enter_context(Tracker(directory))
    nginx = _laid(directory, "keitaro", intake, _KEITARO_HTTP)
    words = {
        "directory": directory,
        "address": nginx.address,
        "access_log": nginx.access_log,
        "tracker": tracker.address,
    }
    (directory / "conf.d/keitaro/locations").mkdir(parents=True)
    (directory / "conf.d/keitaro.conf").write_text(_KEITARO_SERVER.format(**words))
    (directory / "conf.d/keitaro/locations/roadrunner.inc").write_text(_ROADRUNNER.format(**words))
    (directory / "www").mkdir()
    (directory / "www/index.php").touch()
    return nginx


#: Each kind of tracker, by the option of `init nginx`.
KINDS: dict[str, Callable[[Path, str, ExitStack], Nginx]] = {
    "proxy": _before_proxy,
    "php-fpm": _before_php_fpm,
    "keitaro": _before_keitaro,
}


def edit(path: Path, edits: Mapping[str, str]) -> None:
    """Changes lines that end with `# edit`; each edit must meet one."""
    lines = path.read_text().splitlines()
    for old, new in edits.items():
        met = [number for number, line in enumerate(lines) if old in line and "# edit" in line]
        if not met:
            raise PartFailed(f"{path.name} has no line to edit with {old!r}")
        for number in met:
            lines[number] = lines[number].replace(old, new)
    path.write_text("\n".join(lines) + "\n")


def _laid(directory: Path, kind: str, intake: str, http: str) -> Nginx:
    done = init_nginx(directory, kind, intake)
    if done.returncode:
        raise PartFailed(f"init nginx --{kind} ended with {done.returncode}\n{done.stdout}{done.stderr}")
    return Nginx(directory, intake, "", http=http)


def _site(nginx: Nginx) -> dict[str, str]:
    return {"listen 80;": f"listen {nginx.address};", "/var/log/nginx/access.log": str(nginx.access_log)}


def _php_fpm() -> str:
    """The newest one: Debian's command has PHP's version in its name."""
    found = sorted(Path("/usr/sbin").glob("php-fpm*"))
    if not found:
        raise PartFailed("php-fpm is not installed: apt-get install php-fpm (or run tests/install-parts.sh)")
    return str(found[-1])
