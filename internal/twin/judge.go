package twin

// State is how far a declared property has come.
type State string

const (
	// StatePending means that the hub does not hold the declared value yet.
	StatePending State = "Pending"
	// StateApplied means that the hub holds the value, and the device has not answered to it in a way that counts.
	StateApplied State = "Applied"
	// StateInProgress means that the device has taken the value on (ac 202).
	StateInProgress State = "InProgress"
	// StateAcknowledged means that the device answered 2xx to the version that set the value, or a later one, and holds it.
	StateAcknowledged State = "Acknowledged"
	// StateAdjusted means that the device answered 2xx, but holds another value.
	StateAdjusted State = "Adjusted"
	// StateRejected means that the device refused the value (ac >= 400). It is not sent again until it changes.
	StateRejected State = "Rejected"
	// StateDrifted means that management is Observe, and the hub holds another value.
	StateDrifted State = "Drifted"
	// StateReported means that the property is not declared, only shown.
	StateReported State = "Reported"
)

// Codes of an acknowledgement, by the IoT Plug and Play conventions. They follow HTTP.
const (
	codeInProgress    = 202
	codeDeviceDefault = 203
	codeSuccess       = 200
	codeRedirect      = 300
	codeRefused       = 400
)

// Judge says how far a declared value has come. settingVersion is the one that an answer has to reach (Owned.SetVersion),
// desiredVersion the desired section's $version, the newest that a device can know (AckLimit, where only the digital twin was
// read). It never returns StateDrifted or StateReported: those are the caller's, who knows the management mode.
//
// An answer that cannot be one to this value counts as silence: to an older version, to a version that does not exist yet,
// with a code outside HTTP's meaning, or without an envelope at all.
func Judge(declared any, p Property, settingVersion, desiredVersion int64) State {
	if p.Desired == nil || !Equal(declared, p.Desired.Value) {
		return StatePending
	}
	if p.Reported == nil || p.Reported.Ack == nil {
		return StateApplied
	}
	ack := p.Reported.Ack
	if ack.Version < settingVersion || ack.Version > desiredVersion {
		return StateApplied
	}
	return judgeCode(ack.Code, EqualReported(declared, p.Reported.Value))
}

func judgeCode(code int64, equal bool) State {
	switch {
	case code == codeInProgress:
		return StateInProgress
	case code >= codeRefused:
		return StateRejected
	case code == codeDeviceDefault || code < codeSuccess || code >= codeRedirect:
		return StateApplied
	case equal:
		return StateAcknowledged
	default:
		return StateAdjusted
	}
}
