//! Queued work: the queue, the worker loop, and one file per job.
