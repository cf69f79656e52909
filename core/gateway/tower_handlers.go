package gateway

import "encoding/json"

// FireLife is what a handler may know of the request that it is called for.
type FireLife struct {
	// ID is the request's id as the client gave it, empty when it gave none.
	ID string
	// ClientID and UserID are the connection's.
	ClientID, UserID string
}

// FireInfo is a message that a client publishes.
type FireInfo struct {
	Context FireLife
	// Topic is where it goes.
	Topic string
	// Data is the JSON value that the client sent, byte for byte. It is valid
	// during the handler's call only.
	Data json.RawMessage
}

// handlers are the application's callbacks. None is called with a lock held, so
// each may use any method of the connection.
type handlers struct {
	connect         func() bool
	offline         func()
	read            func(*FireInfo) bool
	readTimeout     func(*FireTower)
	beforeSubscribe func(FireLife, []string) bool
	subscribe       func(FireLife, []string)
	unSubscribe     func(FireLife, []string)
	systemRemove    func(topic string)
}

// noHandlers are those of most connections.
var noHandlers handlers

// on returns the application's handlers, to call.
func (t *FireTower) on() *handlers {
	if t.handlers == nil {
		return &noHandlers
	}
	return t.handlers
}

// set returns them to change.
func (t *FireTower) set() *handlers {
	if t.handlers == nil {
		t.handlers = new(handlers)
	}
	return t.handlers
}

// SetOnConnectHandler sets what is called when the connection begins to run;
// false closes it.
func (t *FireTower) SetOnConnectHandler(f func() bool) { t.set().connect = f }

// SetOnOfflineHandler sets what is called once when the connection has ended.
func (t *FireTower) SetOnOfflineHandler(f func()) { t.set().offline = f }

// SetReadHandler sets what is called with each message that the client
// publishes; false refuses it.
func (t *FireTower) SetReadHandler(f func(*FireInfo) bool) { t.set().read = f }

// SetReadTimeoutHandler sets what is called when the client has sent nothing,
// not even the answer to a ping, for two heartbeats; it is then disconnected.
func (t *FireTower) SetReadTimeoutHandler(f func(*FireTower)) { t.set().readTimeout = f }

// SetBeforeSubscribeHandler sets what is called before the client subscribes to
// topics; false refuses all of them.
func (t *FireTower) SetBeforeSubscribeHandler(f func(FireLife, []string) bool) {
	t.set().beforeSubscribe = f
}

// SetSubscribeHandler sets what is called with the topics that the client now
// subscribes to.
func (t *FireTower) SetSubscribeHandler(f func(FireLife, []string)) { t.set().subscribe = f }

// SetUnSubscribeHandler sets what is called with the topics that the client
// itself has left.
func (t *FireTower) SetUnSubscribeHandler(f func(FireLife, []string)) { t.set().unSubscribe = f }

// SetOnSystemRemove sets what is called when an order of the manager or of the
// application has removed the client from a topic.
func (t *FireTower) SetOnSystemRemove(f func(topic string)) { t.set().systemRemove = f }
