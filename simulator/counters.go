package simulator

// Counters is what a fleet can say of itself while it runs. It is a snapshot for progress displays: loops publish
// their figures once per batch, so that they trail the truth by milliseconds, and but for one they never fall.
type Counters struct {
	// Connected is how many connections have completed their upgrade, and Subscribed how many their subscription
	// (v0 knows no answer: there it is when the request was written).
	Connected  int64 `json:"connected"`
	Subscribed int64 `json:"subscribed"`
	// Refused is how many connections failed on the way there.
	Refused int64 `json:"refused"`
	// Probed is as [Fleet.Probed].
	Probed int64 `json:"probed"`
	// Received is the number of messages on the topics of the plan, each arrival counted, and Bytes their size on the wire.
	Received int64 `json:"received"`
	Bytes    int64 `json:"bytes"`
	// Duplicated, Reordered, Corrupt and Foreign are sums over all phases, as in [PhaseReport].
	Duplicated int64 `json:"duplicated"`
	Reordered  int64 `json:"reordered"`
	Corrupt    int64 `json:"corrupt"`
	Foreign    int64 `json:"foreign"`
	// Reconnected is how often a healthy connection that had ended came back, and LastReconnectNS when the newest one did
	// (CLOCK_MONOTONIC; 0 is never). Disconnected is how many that have ended are not back now; it alone may fall.
	Reconnected     int64 `json:"reconnected"`
	LastReconnectNS int64 `json:"last_reconnect_ns"`
	Disconnected    int64 `json:"disconnected"`
	// ChurnChanges and ChurnRefused are as in [ChurnReport]; ChurnReceived is what arrived of churning topics, which is
	// not in Received.
	ChurnChanges  int64 `json:"churn_changes"`
	ChurnRefused  int64 `json:"churn_refused"`
	ChurnReceived int64 `json:"churn_received"`
	// Closed is how many connections have ended after they had subscribed, by close code, slow ones included.
	Closed map[string]int64 `json:"closed,omitempty"`
}
