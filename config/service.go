package config

// Service is one of the two kinds of process that have a configuration.
type Service string

const (
	// ServiceGateway is configured by a file like fireTower.toml.
	ServiceGateway Service = "gateway"
	// ServiceManager is configured by a file like topicmanage.toml.
	ServiceManager Service = "manager"
)

// ExampleFile is the name of the file in this folder that shows every key.
func (s Service) ExampleFile() string {
	if s == ServiceManager {
		return "topicmanage.toml"
	}
	return "fireTower.toml"
}

// services lists all of them, in the order in which they start.
func services() []Service { return []Service{ServiceManager, ServiceGateway} }

// keysOf returns the table of a service, bound to a configuration that nobody
// else holds: for names, documentation and defaults.
func keysOf(s Service) []*key {
	if s == ServiceManager {
		return managerKeys(new(Manager))
	}
	return gatewayKeys(new(Gateway))
}
