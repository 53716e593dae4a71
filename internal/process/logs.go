// Package process sets the operator's process up: what its log lines hold, how much memory it
// takes, and which namespace it is in.
package process

import (
	"io"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	ctrlzap "sigs.k8s.io/controller-runtime/pkg/log/zap"

	"github.com/pnp-operator/pnp-operator/internal/storable"
)

// maxLogged is what a log line has of one text, in bytes.
const maxLogged = 4 << 10

// CleanLines has a logger write lines to a writer that are clean and short: their texts are cut,
// and hold nothing that a terminal acts on.
func CleanLines(to io.Writer) ctrlzap.Opts {
	return func(o *ctrlzap.Options) {
		ctrlzap.WriteTo(cleanLog{to})(o)
		ctrlzap.RawZapOpts(zap.WrapCore(cutTexts))(o)
	}
}

// cleanLog has log lines hold nothing that a terminal acts on: JSON escapes control characters, but not C1 and format
// characters, and devices, tenants and hubs choose texts that are logged.
type cleanLog struct{ io.Writer }

func (w cleanLog) Write(line []byte) (int, error) {
	if _, err := w.Writer.Write(storable.Escape(line)); err != nil {
		return 0, err
	}
	return len(line), nil
}

// cutCore cuts the texts of log lines.
type cutCore struct{ zapcore.Core }

func cutTexts(core zapcore.Core) zapcore.Core { return cutCore{core} }

func (c cutCore) With(fields []zapcore.Field) zapcore.Core {
	return cutCore{c.Core.With(cutFields(fields))}
}

func (c cutCore) Check(e zapcore.Entry, to *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if c.Enabled(e.Level) {
		return to.AddCore(e, c)
	}
	return to
}

func (c cutCore) Write(e zapcore.Entry, fields []zapcore.Field) error {
	return c.Core.Write(e, cutFields(fields))
}

func cutFields(fields []zapcore.Field) []zapcore.Field {
	cut := make([]zapcore.Field, len(fields))
	for i, f := range fields {
		if err, isError := f.Interface.(error); isError && f.Type == zapcore.ErrorType {
			f = zap.String(f.Key, err.Error())
		}
		if f.Type == zapcore.StringType {
			f.String = storable.Text(f.String, maxLogged)
		}
		cut[i] = f
	}
	return cut
}
