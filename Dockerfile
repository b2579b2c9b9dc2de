# One file for every image that docker-compose.yml builds: --target causeway, database or registry.

FROM rust:1.95-bookworm AS build
RUN apt-get update \
    && apt-get install -y --no-install-recommends libssl-dev pkg-config zlib1g-dev \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /build
COPY . .
RUN cargo build --package causeway \
    && install -D --strip target/debug/causeway /out/causeway
# What each source must grant, as the connector itself states it. The settings name secrets that only
# exist when the containers run; nothing here reads what they hold.
RUN mkdir -p /run/secrets && for source in riverside stmarys; do \
      echo none > "/run/secrets/${source}_capture_password"; \
    done && for source in riverside stmarys; do \
      /out/causeway source setup docker/causeway.toml "$source" --print-sql > "/out/$source.sql" || exit 1; \
    done

FROM debian:bookworm-slim AS causeway
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates curl libssl3 zlib1g \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --no-create-home --uid 10001 causeway \
    && install -d -o causeway -g causeway -m 0700 /var/lib/causeway
COPY --from=build /out/causeway /usr/local/bin/causeway
WORKDIR /etc/causeway
COPY docker/causeway.toml causeway.toml
COPY mappings mappings
COPY site site
USER causeway
EXPOSE 8088 9600
ENTRYPOINT ["causeway"]
CMD ["run", "/etc/causeway/causeway.toml"]

FROM postgres:15-bookworm AS database
COPY docker/postgres.sh /usr/local/bin/causeway-postgres
COPY docker/prepare.sh /docker-entrypoint-initdb.d/prepare.sh
COPY tools/region/sql/gp.sql /causeway/riverside/1-schema.sql
COPY --from=build /out/riverside.sql /causeway/riverside/2-setup.sql
COPY tools/region/sql/hospital.sql /causeway/stmarys/1-schema.sql
COPY --from=build /out/stmarys.sql /causeway/stmarys/2-setup.sql
ENTRYPOINT ["causeway-postgres"]

FROM apicurio/apicurio-registry-mem:2.6.13.Final AS registry
USER 0
RUN mkdir -p /var/lib/registry && chown 1001:0 /var/lib/registry
USER 1001
