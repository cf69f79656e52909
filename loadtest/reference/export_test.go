package reference

// Request is a parsed client frame.
type Request struct {
	Kind               int
	Topic, Data, Names string
}

// The kinds of requests.
const (
	RequestPublish     = int(requestPublish)
	RequestSubscribe   = int(requestSubscribe)
	RequestUnsubscribe = int(requestUnsubscribe)
	RequestIgnored     = int(requestIgnored)
)

// ParseRequest parses a client frame.
func ParseRequest(frame []byte) (Request, error) {
	r, err := parseRequest(frame)
	return Request{int(r.kind), string(r.topic), string(r.data), r.names}, err
}
