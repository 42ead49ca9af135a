"""Every trap in Nginx's configuration, in the order in which it is told."""

from sidecar.doctor.finding import Trap
from sidecar.doctor.journal import JOURNAL
from sidecar.doctor.mirror import MIRROR
from sidecar.doctor.site import Site
from sidecar.doctor.upstream import WAY

NGINX: tuple[Trap[Site], ...] = (*JOURNAL, *MIRROR, *WAY)
