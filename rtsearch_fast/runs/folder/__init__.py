"""A run as a folder: what it is, its problems, and a journal of all that it finished and committed.

::

    run.json        settings, with a hash; a run goes on with the same settings only
    problems.jsonl  the problems and their right answers, in their order
    journal.jsonl   one truth: finished records with their trees, and events of unfinished trees
    results.jsonl   records in order, without trees, for other tools: made when all is finished
    timing.jsonl    wall times, by best effort; nothing else differs between two runs
    rtsearch.lock   held by the one process that writes

When a run is finished its journal is put in order, too, and events go. So a run that was killed and
resumed any number of times ends with the bytes of one left in peace.
"""
