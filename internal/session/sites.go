package session

import (
	"k8s.io/apimachinery/pkg/types"

	"github.com/pnp-operator/pnp-operator/internal/command"
)

// CommandHub returns the hub of the session, which is that of an IoTHub object, as commands know
// it.
func (s *Session) CommandHub(object types.NamespacedName) command.Hub {
	return command.Hub{IoTHub: object, Host: s.HostName()}
}

// CommandSite returns where commands hear the events of the session's devices.
func (s *Session) CommandSite(object types.NamespacedName) command.Site {
	return command.Site{Hub: s.CommandHub(object), Life: s.Life()}
}
