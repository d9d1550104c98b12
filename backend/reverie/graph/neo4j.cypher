// The mirror of the graph in Neo4j, 4.4 or later. A trace is a node by the key `user/id`, an edge a relationship of one
// type that has the edge's own as a property: relationships of types that are parameters came with 5.26 only. A page is
// a run of a user's ids, with the sum of what was mirrored of it.

// name: key_of_traces
CREATE CONSTRAINT reverie_trace IF NOT EXISTS FOR (n:ReverieTrace) REQUIRE n.key IS UNIQUE

// name: key_of_users
CREATE CONSTRAINT reverie_user IF NOT EXISTS FOR (u:ReverieUser) REQUIRE u.key IS UNIQUE

// name: key_of_pages
CREATE CONSTRAINT reverie_page IF NOT EXISTS FOR (p:ReveriePage) REQUIRE p.key IS UNIQUE

// name: traces_by_user
CREATE INDEX reverie_trace_user IF NOT EXISTS FOR (n:ReverieTrace) ON (n.user, n.id)

// name: pages_by_user
CREATE INDEX reverie_page_user IF NOT EXISTS FOR (p:ReveriePage) ON (p.user)

// name: users
MATCH (u:ReverieUser) RETURN u.space AS space, u.key AS user, u.version AS version ORDER BY user

// name: version
MATCH (u:ReverieUser {key: $user}) RETURN u.version AS version

// name: save_user
MERGE (u:ReverieUser {key: $user}) SET u.space = $space, u.version = $version

// name: drop_user
MATCH (u:ReverieUser {key: $user}) DELETE u

// name: pages
MATCH (p:ReveriePage {user: $user}) RETURN p.lower AS lower, p.sum AS sum ORDER BY lower

// name: save_page
MERGE (p:ReveriePage {key: $key}) SET p.user = $user, p.lower = $lower, p.sum = $sum

// name: drop_pages
MATCH (p:ReveriePage {user: $user}) DELETE p

// name: read_nodes
MATCH (n:ReverieTrace) WHERE n.user = $user AND n.id >= $lower AND n.id < $upper
RETURN n.id AS id, n.kind AS kind, n.name AS name, n.happened_at AS happened_at

// name: read_edges
MATCH (a:ReverieTrace)-[e:EDGE]->(b:ReverieTrace) WHERE a.user = $user AND a.id >= $lower AND a.id < $upper
RETURN a.id AS src, b.id AS dst, e.type AS type, e.weight AS weight

// name: write_nodes
UNWIND $rows AS row
MERGE (n:ReverieTrace {key: row.key})
SET n.user = $user, n.id = row.id, n.kind = row.kind, n.name = row.name, n.happened_at = row.happened_at

// name: write_ends
// Where an edge leads to a trace of a page to come, that is made, and gets what is known of it there.
UNWIND $rows AS row
MERGE (b:ReverieTrace {key: row.dst_key}) ON CREATE SET b.user = $user, b.id = row.dst

// name: write_edges
UNWIND $rows AS row
MATCH (a:ReverieTrace {key: row.src_key}) MATCH (b:ReverieTrace {key: row.dst_key})
MERGE (a)-[e:EDGE {type: row.type}]->(b) SET e.weight = row.weight

// name: drop_nodes
UNWIND $keys AS key MATCH (n:ReverieTrace {key: key}) DETACH DELETE n

// name: drop_edges
UNWIND $rows AS row
MATCH (a:ReverieTrace {key: row.src_key})-[e:EDGE {type: row.type}]->(b:ReverieTrace {key: row.dst_key}) DELETE e

// name: drop_some
// Some of a user who is gone; how many, 0 where that was all.
MATCH (n:ReverieTrace) WHERE n.user = $user WITH n LIMIT $most DETACH DELETE n RETURN count(*) AS dropped

// name: count
UNWIND $keys AS key MATCH (n:ReverieTrace {key: key}) RETURN count(n) AS traces

// name: entities
MATCH (n:ReverieTrace)<-[e:EDGE]-(t:ReverieTrace) WHERE n.user = $user AND n.kind = 'entity' AND e.type = 'mentions'
RETURN n.id AS id, sum(e.weight) AS much ORDER BY much DESC, id LIMIT $most

// name: neighbours
// Of a trace that has very many edges, the strongest, of equals the newest.
UNWIND $keys AS key
MATCH (n:ReverieTrace {key: key})-[e:EDGE]->(m:ReverieTrace) WHERE $every OR e.type IN $types
WITH n, m, e ORDER BY e.weight DESC, m.id DESC
WITH n, collect({src: n.id, dst: m.id, type: e.type, weight: e.weight}) AS links
UNWIND links[0..$most] AS one
RETURN one.src AS src, one.dst AS dst, one.type AS type, one.weight AS weight

// name: neighbours_back
// What mentions a trace, or all else that leads to it.
UNWIND $keys AS key
MATCH (n:ReverieTrace {key: key})<-[e:EDGE]-(m:ReverieTrace)
WHERE (e.type = 'mentions') = $mentions AND ($every OR e.type IN $types)
WITH n, m, e ORDER BY e.weight DESC, m.id DESC
WITH n, collect({src: m.id, dst: n.id, type: e.type, weight: e.weight}) AS links
UNWIND links[0..$most] AS one
RETURN one.src AS src, one.dst AS dst, one.type AS type, one.weight AS weight

// name: among
MATCH (a:ReverieTrace)-[e:EDGE]->(b:ReverieTrace)
WHERE a.key IN $keys AND b.key IN $keys AND ($every OR e.type IN $types)
RETURN a.id AS src, b.id AS dst, e.type AS type, e.weight AS weight

// name: together
MATCH (a:ReverieTrace)<-[e:EDGE]-(t:ReverieTrace)-[f:EDGE]->(b:ReverieTrace)
WHERE a.key IN $keys AND b.key IN $keys AND a.id < b.id AND e.type = 'mentions' AND f.type = 'mentions'
RETURN a.id AS a, b.id AS b, count(t) AS many ORDER BY many DESC, a, b LIMIT $most

// name: mentioned
UNWIND $keys AS key
MATCH (n:ReverieTrace {key: key})<-[e:EDGE]-(t:ReverieTrace) WHERE e.type = 'mentions'
RETURN n.id AS id, count(e) AS many
