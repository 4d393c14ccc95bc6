# syntax=docker/dockerfile:1

FROM rust:1-bookworm AS build
WORKDIR /herdbook
COPY . .
# Cargo.toml names the test and the benchmark, whose sources are not needed to build the program.
RUN mkdir tests benches && touch tests/main.rs && echo 'fn main() {}' > benches/main.rs
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/target \
    CARGO_TARGET_DIR=/target cargo build --release --locked --bin herdbook \
    && install -D /target/release/herdbook /out/herdbook

FROM debian:bookworm-slim
# Postgres serves installations without HERDBOOK_DATABASE_URL; the product starts its own cluster, not Debian's.
RUN mkdir -p /etc/postgresql-common \
    && echo 'create_main_cluster = false' > /etc/postgresql-common/createcluster.conf \
    && apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends ca-certificates curl postgresql-15 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --home-dir /data --shell /usr/sbin/nologin herdbook \
    && install -d -o herdbook -g herdbook -m 0750 /data
COPY --from=build /out/herdbook /usr/local/bin/herdbook
USER herdbook
ENV HERDBOOK_LISTEN=0.0.0.0:8080 HERDBOOK_DATA_DIR=/data
VOLUME /data
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s CMD ["curl", "-fsS", "http://127.0.0.1:8080/readyz"]
ENTRYPOINT ["herdbook"]
CMD ["serve"]
