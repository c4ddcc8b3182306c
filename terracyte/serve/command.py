"""terracyte serve: serve a task's champion, with a web page to try it."""

import argparse
import contextlib
import gc

from terracyte.core import listening
from terracyte.core.arguments import OF_TASK, add_experiment, add_model, of_task

HELP = "serve a champion on this machine, with a page to try it"

PORT = 5001


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("task", help="name of a task in params.yaml")
    add_experiment(parser, OF_TASK)
    listening.add_host(parser)
    parser.add_argument("--port", type=int, default=PORT, help=f"port to listen on ({PORT}); 0 chooses a free one")
    add_model(parser)


def run(arguments: argparse.Namespace) -> None:
    """Serve until Ctrl-C.

    Raises:
        InputError: there is no champion, it is refused by `origin.check`, or host or port cannot be used.
    """
    # Imported only where needed: `--help` stays fast, and a wrong folder or port is reported at once.
    from terracyte.predict import origin

    experiment = of_task(arguments.experiment, arguments.task)
    folder = origin.champion_of(arguments.task, experiment, arguments.model, arguments.sha256)
    with listening.listen(arguments.host, arguments.port) as listener:
        listening.warn(arguments.host)
        print(f"{arguments.task}: reading {folder} …", flush=True)
        import uvicorn

        from terracyte.predict import predictor
        from terracyte.serve.examples import examples
        from terracyte.serve.site import application

        champion, hosts = predictor.read(folder, arguments.task), listening.names(arguments.host)
        site = application(champion, folder, examples(champion.task, experiment), hosts)
        gc.freeze()  # these objects stay alive: scanning them for garbage doubles the time of a request
        where = listening.address(arguments.host, listener.getsockname()[1])
        print(f"{arguments.task}: {where} (Ctrl-C ends it)", flush=True)
        server = uvicorn.Server(uvicorn.Config(site, log_level="warning", timeout_graceful_shutdown=5))
        with contextlib.suppress(KeyboardInterrupt):
            server.run(sockets=[listener])
