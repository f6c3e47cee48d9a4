# docker build --build-arg REVISION="$(git rev-parse --short HEAD)" -t tokenferry .
#
# Both images have the C library of Debian 12. Pin them by digest where images must not change
# under you. The build needs curl and Python 3, which images with `slim` in their names lack.
ARG RUST_IMAGE=docker.io/library/rust:1.95-bookworm
ARG RUNTIME_IMAGE=gcr.io/distroless/cc-debian12:nonroot

FROM ${RUST_IMAGE} AS build
ARG REVISION=unknown
WORKDIR /source
COPY . .
# Optimised for the paths that requests take where rustup can fetch the tool for it, which costs
# as long again; else without that. The caches are no part of the image, so the binary is copied
# out of them in the same step, and so are the licences of what it is built of: first, because
# what is missing for them shows in a second.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/source/target \
    deploy/notices >/THIRD-PARTY-NOTICES \
    && export TOKENFERRY_REVISION="${REVISION}" \
    && if rustup component add llvm-tools; then deploy/build; \
    else cargo build --locked --release --bin tokenferry; fi \
    && cp target/release/tokenferry /tokenferry

FROM ${RUNTIME_IMAGE}
ARG REVISION=unknown
LABEL org.opencontainers.image.title="tokenferry" \
      org.opencontainers.image.description="An authenticating reverse proxy for Microsoft Graph and Dynamics 365" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0" \
      org.opencontainers.image.revision="${REVISION}"
COPY LICENSE-MIT LICENSE-APACHE /usr/share/doc/tokenferry/
COPY --from=build --chmod=0444 /THIRD-PARTY-NOTICES /usr/share/doc/tokenferry/
COPY --from=build --chmod=0555 /tokenferry /usr/local/bin/tokenferry
# A number, so that Kubernetes can see that it is not root.
USER 65532:65532
# It writes no file (but for `tls: local`): the root file system may be read-only.
WORKDIR /etc/tokenferry
STOPSIGNAL SIGTERM
EXPOSE 8080 8081
ENTRYPOINT ["/usr/local/bin/tokenferry"]
CMD ["run"]
