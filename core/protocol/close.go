package protocol

// Close codes of Firetower's own (4000 to 4999 are for private use, RFC 6455
// section 7.4.2). 40xx: what ended the connection would end the next one as well;
// 41xx: the next one may live. The exception is 4008, whose number is a promise to existing
// clients.
//
//	code  name               sent when                                            reconnect
//	4000  CloseProtocol      the client's frames are not requests                  no
//	4001  CloseKicked        the user was taken offline (offline_user)             no
//	4002  CloseForbidden     the embedding application refused the connection      no
//	4008  CloseSlowConsumer  the client reads more slowly than its topics send     yes, with backoff
//	4100  CloseReadTimeout   nothing came from the client, no pong either          yes, with backoff
//	4101  CloseUnavailable   the gateway can not serve it now                      yes, with backoff
//	4102  CloseExpired       what let the client in, such as its token, expired    yes, with a new one
//
// Of the codes of RFC 6455 a gateway sends 1000, 1001, 1003, 1007, 1009 and 1011 with their
// meaning there, and 1012 when it stops. [ShouldReconnect] is this table for programs.
const (
	CloseProtocol     = 4000
	CloseKicked       = 4001
	CloseForbidden    = 4002
	CloseSlowConsumer = 4008
	CloseReadTimeout  = 4100
	CloseUnavailable  = 4101
	CloseExpired      = 4102
)

// CloseServiceRestart is sent when a gateway stops (1012, in the IANA registry
// of WebSocket close codes; not in RFC 6455).
const CloseServiceRestart = 1012

// ShouldReconnect tells whether a client should dial again, with backoff, after
// a connection that ended with the given close code. It is true for codes that nobody
// has assigned: a connection lost for reasons unknown is worth a second try.
func ShouldReconnect(code int) bool {
	switch {
	case code == 1000: // normal closure: somebody wanted it
		return false
	case code == 1002, code == 1003, code == 1007, code == 1008, code == 1009, code == 1010:
		return false // the client would do the same again
	case code == CloseSlowConsumer:
		return true
	case code >= 4000 && code <= 4099:
		return false
	}
	return true
}
