package gateway

// DropReason says why a message was not delivered, as the label of
// firetower_gateway_drops_total. One is counted per message and connection,
// but for those of the link, where no connection is concerned.
type DropReason string

const (
	// DropSlowDisconnect: it waited for a connection that was closed as too slow.
	DropSlowDisconnect DropReason = "slow_disconnect"
	// DropSlowOldest: SlowDropOldest made room for a newer one.
	DropSlowOldest DropReason = "slow_oldest"
	// DropSlowLatest: SlowLatest replaced it by a newer one of its topic.
	DropSlowLatest DropReason = "slow_latest"
	// DropClosed: it waited for a connection that ended.
	DropClosed DropReason = "connection_closed"
	// DropLinkDown: a client published while no link to the manager was up.
	DropLinkDown DropReason = "link_down"
	// DropLinkFull: a client published faster than the link to the manager takes.
	DropLinkFull DropReason = "link_queue_full"
	// DropLinkLost: it was being written to the manager when the link broke; it
	// may or may not have arrived.
	DropLinkLost DropReason = "link_lost"
	// DropShutdown: it still waited when the drain timeout of the gateway ended.
	DropShutdown DropReason = "shutdown"
	// DropBadPush: the manager sent a packet that is not a push or an order.
	DropBadPush DropReason = "bad_packet"
)

var dropReasons = []DropReason{
	DropSlowDisconnect, DropSlowOldest, DropSlowLatest, DropClosed,
	DropLinkDown, DropLinkFull, DropLinkLost, DropShutdown, DropBadPush,
}

// DisconnectReason says why a connection ended, as the label of
// firetower_gateway_disconnects_total.
type DisconnectReason string

const (
	// DisconnectClient: the client closed, or its connection broke.
	DisconnectClient DisconnectReason = "client"
	// DisconnectSlow: its backlog was full or too old (close code 4008).
	DisconnectSlow DisconnectReason = "slow_consumer"
	// DisconnectDead: nothing came from it for two heartbeats.
	DisconnectDead DisconnectReason = "dead_peer"
	// DisconnectProtocol: it broke the protocol, the WebSocket's or ours.
	DisconnectProtocol DisconnectReason = "protocol_error"
	// DisconnectTooBig: it sent a message above Limits.MaxFrameBytes.
	DisconnectTooBig DisconnectReason = "message_too_big"
	// DisconnectKicked: offline_user or FireTower.Close.
	DisconnectKicked DisconnectReason = "kicked"
	// DisconnectHandler: a handler of the application refused it.
	DisconnectHandler DisconnectReason = "handler"
	// DisconnectExpired: what it may do has expired (close code 4102).
	DisconnectExpired DisconnectReason = "expired"
	// DisconnectDrain: the gateway stops.
	DisconnectDrain DisconnectReason = "drain"
	// DisconnectWrite: writing to it failed.
	DisconnectWrite DisconnectReason = "write_error"
)

var disconnectReasons = []DisconnectReason{
	DisconnectClient, DisconnectSlow, DisconnectDead, DisconnectProtocol, DisconnectTooBig,
	DisconnectKicked, DisconnectHandler, DisconnectExpired, DisconnectDrain, DisconnectWrite,
}
