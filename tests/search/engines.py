"""The same models here and by the workers of real engines; started by test_executors.py as a program, prints JSON."""

import json
import sys
from concurrent.futures import ProcessPoolExecutor

import fastmlp
from fastmlp.search.bank import train_bank
from fastmlp.search.cross_validation import cv_tasks
from fastmlp.search.ledger import record_of
from fastmlp.search.repeat import repeat_tasks
from fastmlp.search.task import Trained
from fastmlp.settings import NetworkSettings, TrainingSettings

BASE = TrainingSettings(epochs=2, batch_size=50, learning_rate=0.2, validation=200)


def models(data, **where):
    tasks = repeat_tasks(NetworkSettings(hidden=(30,)), BASE, 2, opens_test=True)
    tasks += cv_tasks(NetworkSettings(hidden=(20,)), BASE.replace(validation=0), data, 2)
    found = {event.task.key: event for event in train_bank(tasks, data, **where) if isinstance(event, Trained)}
    return {key: (model.network.parameters.tobytes(), without_times(record_of(model))) for key, model in sorted(found.items())}


def without_times(record):
    history = {name: value for name, value in record["history"].items() if "second" not in name}
    return {**record, "history": history, "seconds": None}


def main(engine):
    data = fastmlp.load_dataset("mnist").first_rows(2000, 300)
    here = models(data)
    openings = len(data.test_openings)
    if engine == "dask":
        from dask.distributed import Client, LocalCluster

        with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster, Client(cluster) as client:
            there = [models(data, executor=client.get_executor()), models(data, executor=f"dask:{cluster.scheduler_address}")]
    elif engine == "loky":
        import loky

        there = [models(data, executor=loky.get_reusable_executor(2), cores=2)]
    elif engine == "pool":
        with ProcessPoolExecutor(2) as pool:
            there = [models(data, executor=pool)]
    else:
        there = [models(data, executor=engine), models(data, executor=engine, cores=3)]
    print(json.dumps({"models": len(here), "same": [each == here for each in there], "opened": len(data.test_openings) // openings}))


if __name__ == "__main__":
    main(sys.argv[1])
