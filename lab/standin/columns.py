"""The columns of the system tables, as Cassandra 5.0.9 has them, most of them; what nobody fills is left out."""

from lab.standin.frames import (
    BIGINT,
    BOOLEAN,
    INET,
    INT,
    TEXT,
    TEXT_MAP,
    TEXTS,
    TIMESTAMP,
    UUID_,
    Column,
)

IDENTITY: tuple[Column, ...] = (
    ("data_center", TEXT),
    ("rack", TEXT),
    ("host_id", UUID_),
    ("release_version", TEXT),
    ("schema_version", UUID_),
    ("tokens", TEXTS),
)
LOCAL: tuple[Column, ...] = (
    ("key", TEXT),
    ("bootstrapped", TEXT),
    ("broadcast_address", INET),
    ("broadcast_port", INT),
    ("cluster_name", TEXT),
    ("cql_version", TEXT),
    ("gossip_generation", INT),
    ("listen_address", INET),
    ("listen_port", INT),
    ("native_protocol_version", TEXT),
    ("partitioner", TEXT),
    ("rpc_address", INET),
    ("rpc_port", INT),
    *IDENTITY,
)
PEERS: tuple[Column, ...] = (
    ("peer", INET),
    ("rpc_address", INET),
    *IDENTITY,
)
PEERS_V2: tuple[Column, ...] = (
    ("peer", INET),
    ("peer_port", INT),
    ("native_address", INET),
    ("native_port", INT),
    ("preferred_ip", INET),
    ("preferred_port", INT),
    *IDENTITY,
)
GOSSIP: tuple[Column, ...] = (
    ("generation", INT),
    ("heartbeat", INT),
    ("status_with_port", TEXT),
    ("address", INET),
    ("port", INT),
    ("hostname", TEXT),
    ("dc", TEXT),
    ("rack", TEXT),
    ("host_id", TEXT),
    ("internal_address_and_port", TEXT),
    ("load", TEXT),
    ("native_address_and_port", TEXT),
    ("release_version", TEXT),
    ("rpc_ready", TEXT),
    ("schema", TEXT),
    ("severity", TEXT),
    ("tokens", TEXT),
)
CHANGING = 3  # columns of GOSSIP
OUTBOUND: tuple[Column, ...] = (
    ("active_connections", BIGINT),
    ("connection_attempts", BIGINT),
    ("successful_connection_attempts", BIGINT),
    ("address", INET),
    ("port", INT),
    ("dc", TEXT),
    ("rack", TEXT),
    ("error_count", BIGINT),
    ("pending_count", BIGINT),
    ("sent_count", BIGINT),
)
CLIENTS: tuple[Column, ...] = (
    ("address", INET),
    ("port", INT),
    ("hostname", TEXT),
    ("username", TEXT),
    ("connection_stage", TEXT),
    ("client_options", TEXT_MAP),
    ("driver_name", TEXT),
    ("driver_version", TEXT),
    ("keyspace_name", TEXT),
    ("protocol_version", INT),
    ("request_count", BIGINT),
    ("ssl_cipher_suite", TEXT),
    ("ssl_enabled", BOOLEAN),
    ("ssl_protocol", TEXT),
)
HINTS: tuple[Column, ...] = (
    ("host_id", UUID_),
    ("address", INET),
    ("dc", TEXT),
    ("rack", TEXT),
    ("files", INT),
    ("newest", TIMESTAMP),
    ("oldest", TIMESTAMP),
    ("status", TEXT),
)
KEYSPACES: tuple[Column, ...] = (("keyspace_name", TEXT), ("durable_writes", BOOLEAN), ("replication", TEXT_MAP))
OF_KEYSPACE: tuple[Column, ...] = (("keyspace_name", TEXT),)
OF_TABLE: tuple[Column, ...] = (*OF_KEYSPACE, ("table_name", TEXT))
