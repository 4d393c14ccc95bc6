//! HTTP delivery: the hub protocol, REST v1 and the pages.
