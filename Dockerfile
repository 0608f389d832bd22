# syntax=docker/dockerfile:1

FROM rust:1.95-slim-bookworm AS build
WORKDIR /build
COPY Cargo.toml Cargo.lock ./
COPY .cargo .cargo
COPY src src
# The manifest names these as targets, and cargo wants to see them.
COPY benches benches
COPY tests/zz_not_run.rs tests/
# The caches keep crates and objects between builds, so the program is copied out of them in the same step.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/build/target \
    cargo build --release --locked --bin crisp-sync \
    && install -D target/release/crisp-sync /image/usr/local/bin/crisp-sync \
    && install -d -o 10001 -g 10001 -m 0700 /image/var/lib/crisp-sync \
    && install -D -m 0644 /etc/ssl/certs/ca-certificates.crt /image/etc/ssl/certs/ca-certificates.crt

FROM debian:bookworm-slim
COPY --from=build /image /
USER 10001:10001
WORKDIR /var/lib/crisp-sync
# The ledger. On a volume, or a new container forgets what was already sent.
VOLUME /var/lib/crisp-sync
ENV CRISP_SYNC_CONFIG=/etc/crisp-sync/crisp-sync.toml \
    CRISP_SYNC_LEDGER=/var/lib/crisp-sync/crisp-sync.db \
    CRISP_SYNC_LOG_FORMAT=json
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s CMD ["crisp-sync", "health"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["crisp-sync"]
CMD ["serve"]
